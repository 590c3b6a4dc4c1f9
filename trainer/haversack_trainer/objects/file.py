"""A folder as a store: a disk of one machine, or a volume that all peers mount."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Self

from .base import Conflict, Damaged, NotFound, ObjectInfo, StoreError
from .keys import RESERVED, check_key
from .landing import CHUNK_BYTES, Place, landing, move, sync_folder, translated
from .probe import probe

_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class FileStore:
    """``objects.base.Store`` over a folder. Every write is a synced temporary file and a rename; conditions
    are checked under a lock file, so they hold wherever the file system's locks do."""

    def __init__(self, root: Path, uri: str | None = None) -> None:
        self.uri = uri or f"file://{root}"
        self._root = root
        self._own = root / RESERVED
        self._probed: bool | None = None

    def within(self, seconds: float) -> Self:
        """See ``Store.within``. A folder is there or not: it is never waited for."""
        del seconds
        return self

    def put(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> ObjectInfo:
        """See ``Store.put``."""
        place: Place = self._move
        if if_absent:
            place = self._move_if_absent
        elif if_match is not None:
            place = partial(self._move_if_match, etag=if_match)
        with self._landing(key, place) as file:
            file.write(data)
            return _stamp(file, key)

    def put_file(self, key: str, path: Path, sha256: str) -> ObjectInfo:
        """See ``Store.put_file``."""
        with self._landing(key, self._move) as file, _opened(path, key) as source:
            _copy(source, file, sha256, key)
            return _stamp(file, key)

    def get(self, key: str) -> tuple[bytes, ObjectInfo]:
        """See ``Store.get``."""
        with _opened(self._path(key), key) as file:
            return file.read(), _info(key, os.fstat(file.fileno()))

    def download(self, key: str, path: Path, sha256: str | None = None) -> str:
        """See ``Store.download``."""
        with _opened(self._path(key), key) as source, landing(path) as file:
            return _copy(source, file, sha256, key)

    def head(self, key: str) -> ObjectInfo | None:
        """See ``Store.head``."""
        path = self._path(key)
        with translated(path):
            return _info(key, path.stat()) if path.is_file() else None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ``Store.list``."""
        top = self._root / prefix.rpartition("/")[0]
        with translated(top):
            keys = sorted(
                path.relative_to(self._root).as_posix()
                for path in top.rglob("*")
                if self._own not in path.parents and path.is_file()
            )
        for key in keys:
            # Another writer may have deleted it since.
            if key.startswith(prefix) and (info := self.head(key)) is not None:
                yield info

    def delete(self, key: str) -> None:
        """See ``Store.delete``. Folders that become empty go too."""
        path = self._path(key)
        with translated(path), self._lock():
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._root or not folder.is_dir() or any(folder.iterdir()):
                    return
                folder.rmdir()

    def probe(self) -> bool:
        """See ``Store.probe``."""
        if self._probed is None:
            self._probed = probe(self)
        return self._probed

    def abort_uploads(self, before: float) -> int:
        """See ``Store.abort_uploads``: here, temporary files of processes that died."""
        with translated(self._own), self._lock():
            stale = [
                path
                for path in self._own.iterdir()
                if path != self._lock_path and path.stat().st_mtime < before
            ]
            for path in stale:
                path.unlink(missing_ok=True)
        return len(stale)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _landing(self, key: str, place: Place) -> Iterator[BinaryIO]:
        with landing(self._path(key), scratch=self._own, place=place) as file:
            yield file

    @property
    def _lock_path(self) -> Path:
        return self._own / "lock"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._own.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _move(self, temporary: Path, path: Path) -> None:
        with self._lock():
            move(temporary, path)

    def _move_if_absent(self, temporary: Path, path: Path) -> None:
        with self._lock():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                # A hard link fails if the name is taken, even where locks are not shared.
                path.hardlink_to(temporary)
            except FileExistsError as error:
                raise Conflict(f"{path} exists already") from error
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if path.exists():
                    raise Conflict(f"{path} exists already") from error
                temporary.replace(path)
            sync_folder(path.parent)

    def _move_if_match(self, temporary: Path, path: Path, *, etag: str) -> None:
        with self._lock():
            if not path.is_file() or _info("", path.stat()).etag != etag:
                raise Conflict(f"{path} changed since it was read")
            move(temporary, path)


@contextmanager
def _opened(path: Path, key: str) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"there is no object {key} ({path})") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _copy(source: BinaryIO, target: BinaryIO, sha256: str | None, key: str) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        digest.update(chunk)
    found = digest.hexdigest()
    if sha256 not in {None, found}:
        raise Damaged(f"{key} has sha256 {found}, not {sha256}: it was changed or cut short")
    return found


def _stamp(file: BinaryIO, key: str) -> ObjectInfo:
    """Give the file a time of nanosecond resolution, which kernels' own clock ticks lack: it makes two
    versions of the same size differ in their etag."""
    file.flush()
    now = time.time_ns()
    os.utime(file.fileno(), ns=(now, now))
    return _info(key, os.fstat(file.fileno()))


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    etag = f"{stat.st_mtime_ns:x}-{stat.st_ino:x}-{stat.st_size:x}"
    return ObjectInfo(key, stat.st_size, etag, stat.st_mtime_ns / 1e9)
