"""``s3://`` addresses: downloaded once per machine.

Objects land in a cache folder that is named by their address, keys and etags, under a lock that all
processes of the machine respect, and the folder gets its name only when it is whole.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from haversack_trainer.objects.base import ObjectInfo, Store, StoreError

from .samples import DataError
from .space import NoSpace, check_space

OpenStore = Callable[[str], Store]


def from_store(uri: str, cache_dir: Path, ignored: Sequence[str], open_store: OpenStore) -> Path:
    """The local copy of an object, or of all objects below a prefix. Raises ``DataError``."""
    try:
        store, found = _objects(uri, open_store)
        wanted = [info for info in found if _is_wanted(info.key, ignored)]
        if not wanted:
            raise DataError(f"{uri} was not found: no object has this key or prefix; correct it")
        return _cached(uri, store, wanted, cache_dir)
    except StoreError as error:
        raise DataError(f"{uri} cannot be read: {error}") from error
    except OSError as error:
        kind = NoSpace if error.errno == errno.ENOSPC else DataError
        raise kind(f"{uri} cannot be kept in {cache_dir}: {error.strerror}") from error


def _objects(uri: str, open_store: OpenStore) -> tuple[Store, list[ObjectInfo]]:
    """What ``uri`` names, and the store that the keys belong to."""
    base, _, name = uri.rstrip("/").rpartition("/")
    if base.endswith("/"):  # s3://bucket
        store = open_store(uri)
        return store, list(store.list(""))
    store = open_store(base)
    one = store.head(name)
    return store, [one] if one else list(store.list(f"{name}/"))


def _is_wanted(key: str, ignored: Sequence[str]) -> bool:
    return not key.endswith("/") and not any(fnmatch.fnmatch(key, f"*{p}") for p in ignored)


def _cached(uri: str, store: Store, objects: Sequence[ObjectInfo], cache_dir: Path) -> Path:
    content = "\n".join(f"{info.key} {info.size_bytes} {info.etag}" for info in objects)
    name = hashlib.sha256(f"{uri}\n{content}".encode()).hexdigest()[:40]
    folder = cache_dir / "s3" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            partial.mkdir(exist_ok=True)
            _download(uri, store, objects, partial)
            partial.rename(folder)
    inner = folder / uri.rstrip("/").rpartition("/")[2]
    return inner if inner.exists() else folder


def _download(uri: str, store: Store, objects: Sequence[ObjectInfo], folder: Path) -> None:
    paths = [(info, folder / _relative(uri, info.key)) for info in objects]
    # A file has its name only once it is whole, so what a process that died had finished is kept.
    missing = [(info, path) for info, path in paths if not path.exists()]
    check_space(uri, sum(info.size_bytes for info, _ in missing), folder)
    for info, path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(info.key, path)


def _relative(uri: str, key: str) -> PurePosixPath:
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or "\\" in key or "\0" in key:
        raise DataError(f"{uri} holds the key {key!r}, which is no file name; rename the object")
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold ``path``'s lock among this machine's processes; the kernel frees it when one dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
