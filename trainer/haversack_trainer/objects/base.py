"""The seam to whatever keeps objects: a directory or an S3 bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


class StoreError(Exception):
    """Something is wrong with the store; the message says what to change (bucket, endpoint, Secret)."""


class Away(StoreError):
    """The store cannot be reached, is overloaded or has no room, for longer than it was waited for. Nothing
    need be wrong with the job: the same call may work later."""


class NotFound(StoreError):
    """No object has this key."""


class Conflict(StoreError):
    """A conditional write lost: the object exists, or changed since it was read."""


class Damaged(StoreError):
    """An object's bytes do not match the size or sha256 they should have."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    size_bytes: int
    etag: str
    modified: float
    """Unix time of the last write, by the store's clock."""


class Store(Protocol):
    """Objects below one root (``file:///path`` or ``s3://bucket/prefix``). Keys are relative, with ``/``."""

    uri: str

    def within(self, seconds: float) -> Self:
        """The same store for those who cannot wait: a call raises ``Away`` after this long at most."""

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        """Write an object whole. Raises ``Conflict`` if a condition fails."""

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        """Upload a file, multipart where it is large; never leaves half an object."""

    def get(self, key: str) -> tuple[bytes, ObjectInfo]:
        """A small object. Raises ``NotFound``."""

    def download(self, key: str, path: Path, sha256: str | None = None) -> str:
        """Stream an object to ``path`` (at most 16 MiB in memory), resuming a broken connection, then rename
        into place. Returns its sha256. Raises ``NotFound``, ``Damaged``."""

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size and etag, or None."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key starts with ``prefix``, in ascending order of key."""

    def delete(self, key: str) -> None:
        """Remove an object; no error if there is none."""

    def probe(self) -> bool:
        """Write, read and delete a small object, and find out whether conditional writes are honoured.
        Raises ``StoreError`` saying what to change if the store cannot be used at all. Asked once; the
        answer is kept."""

    def abort_uploads(self, before: float) -> int:
        """Throw away uploads that began before ``before`` (the store's clock) and never ended. Returns
        how many there were."""
