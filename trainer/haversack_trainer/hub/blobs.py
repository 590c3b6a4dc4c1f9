"""Bulk beside the log, in files named by their sha256. Old rounds' files are removed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from haversack_trainer.contract.records import CorruptRecord

from .journal import NotStored

GRACE_SECONDS: Final = 600.0
"""A blob precedes the record that refers to it; this is the most it may be early."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Incoming:
    """A blob on its way in. Nothing of it stays unless ``commit`` succeeds."""

    def __init__(self, blobs: Blobs, digest: str) -> None:
        self._blobs, self._digest = blobs, digest
        self._hash = hashlib.sha256()
        self._part = blobs.folder / f"{secrets.token_hex(8)}.part"
        self._file = self._part.open("wb")

    def write(self, chunk: bytes) -> None:
        """Raises ``NotStored``."""
        self._hash.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _not_stored(self._blobs.folder, error) from error

    def commit(self) -> None:
        """Raises ``NotStored``, or ``CorruptRecord`` if the bytes are not those that were announced."""
        if self._hash.hexdigest() != self._digest:
            raise CorruptRecord("the blob's bytes do not have the sha256 of its address")
        try:
            self._file.flush()
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise _not_stored(self._blobs.folder, error) from error
        self._file.close()
        self._part.replace(self._blobs.path(self._digest))
        self._blobs.note(self._digest)

    def discard(self) -> None:
        """Free what is left; harmless after ``commit``."""
        try:
            self._file.close()
        finally:
            self._part.unlink(missing_ok=True)


class Blobs:
    """A folder of blobs."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._clock = folder, clock
        for part in folder.glob("*.part"):
            part.unlink()
        names = (path.name for path in folder.iterdir())
        self._since = {name: clock() for name in names if _DIGEST.fullmatch(name)}

    def path(self, digest: str) -> Path:
        """Where the blob is or will be. Raises ``CorruptRecord`` if ``digest`` is no sha256."""
        if not _DIGEST.fullmatch(digest):
            raise CorruptRecord("a blob's address is its sha256 in lower-case hex")
        return self.folder / digest

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def receive(self, digest: str) -> Incoming:
        """Raises ``CorruptRecord``, ``NotStored``."""
        self.path(digest)
        try:
            return Incoming(self, digest)
        except OSError as error:
            raise _not_stored(self.folder, error) from error

    def note(self, digest: str) -> None:
        """The blob was put now; its grace begins."""
        self._since[digest] = self._clock()

    def sweep(self, needed: set[str], past: Iterable[str]) -> None:
        """Remove ``past`` ones, and what nobody refers to although it is not new; never ``needed`` ones."""
        limit = self._clock() - GRACE_SECONDS
        late = [digest for digest, since in self._since.items() if since < limit]
        for digest in chain(past, late):
            if digest in self._since and digest not in needed:
                self.path(digest).unlink(missing_ok=True)
                del self._since[digest]


def _not_stored(folder: Path, error: OSError) -> NotStored:
    return NotStored(f"the hub's disk at {folder} took no blob ({error.strerror}): make room there")
