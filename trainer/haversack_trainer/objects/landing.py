"""Bytes that arrive whole or not at all: a temporary file, synced, then put in place.

Also the one place where the operating system's errors about files become ``StoreError``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from .base import Away, StoreError

CHUNK_BYTES: Final = 1 << 20
PREFIX: Final = ".landing-"
Place = Callable[[Path, Path], None]
"""Gives the temporary file (first) its final name (second)."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


def move(temporary: Path, path: Path) -> None:
    """The usual ``Place``: make the folder, replace what was there, remember both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(path)
    sync_folder(path.parent)


@contextmanager
def landing(path: Path, *, scratch: Path | None = None, place: Place = move) -> Iterator[BinaryIO]:
    """Yield a new file in ``scratch`` (default: beside ``path``) that takes ``path``'s name at the end.

    On any error the file is gone and ``path`` is what it was. Raises ``StoreError`` for a disk that
    is full (``Away``: there may be room later) or may not be written.
    """
    folder = scratch or path.parent
    temporary = folder / f"{PREFIX}{uuid4().hex}"
    with translated(path):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn ``OSError`` into a ``StoreError`` that says what to change."""
    try:
        yield
    except OSError as error:
        kind = Away if error.errno in _FULL else StoreError
        raise kind(_sentence(error, path)) from error


def _sentence(error: OSError, path: Path) -> str:
    if error.errno in _FULL:
        return f"no room left for {path}: free space there, or point the job to a larger disk"
    if error.errno in _FORBIDDEN:
        return f"{path} may not be written or read ({error.strerror}): check owner and access mode"
    return f"{path} cannot be used: {error.strerror or error}"
