"""Checkpoints of a run: ``checkpoints/<run>/<round>-<sha8>/``, newest whole one first."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.objects.base import Damaged, NotFound, Store

from .manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    Meta,
    commit,
    digest,
    entries,
    fetch,
    read,
    scratch,
)

CHECKPOINTS: Final = "checkpoints"
_log = logging.getLogger(__name__)


def save(store: Store, round: int, files: Mapping[str, bytes], meta: Meta) -> CheckpointRef:
    """Write the state after ``round`` rounds. It exists once this returns, and not before.

    Raises ``StoreError`` if the store stays away; the run may go on and try again later.
    """
    found = entries((name, len(data), digest(data)) for name, data in files.items())
    manifest = Manifest(round=round, meta=meta, files=found)

    def put(key: str, entry: FileEntry) -> None:
        store.put(key, files[entry.name])

    key, body = commit(store, f"{CHECKPOINTS}/{meta.run}", manifest, put)
    return CheckpointRef(round=round, key=key, digest=digest(body))


def load(store: Store, ref: CheckpointRef) -> tuple[dict[str, bytes], Manifest]:
    """The files of a checkpoint by name. Raises ``Damaged`` if any byte differs, ``NotFound``."""
    manifest, _ = read(store, ref.key, ref.digest)
    with scratch() as folder:
        return {
            path.name: path.read_bytes() for path in fetch(store, ref.key, manifest, folder)
        }, manifest


def newest(store: Store, run: str) -> CheckpointRef | None:
    """The run's newest checkpoint of which every byte is right, or None. Torn ones are passed over."""
    for seen in _newest_first(store, run):
        try:
            return _verified(store, seen)
        except (Damaged, NotFound) as error:
            _log.warning("passing over a checkpoint that is not whole: %s", error)
    return None


def prune(store: Store, run: str, keep: int) -> int:
    """Delete what is older than the run's ``keep`` newest whole checkpoints; how many folders went.

    Whole here means that all files are there in their sizes: hashes are looked at when loading.
    """
    whole = deleted = 0
    for seen in _newest_first(store, run):
        if whole < keep:
            whole += _looks_whole(store, seen)
        else:
            # The manifest first: a half deleted checkpoint is none.
            for name in sorted(seen.sizes, key=lambda name: name != MANIFEST):
                store.delete(f"{seen.folder}/{name}")
            deleted += 1
    return deleted


@dataclass(frozen=True, slots=True)
class _Seen:
    """A checkpoint's folder as listed."""

    folder: str
    sizes: dict[str, int]


def _newest_first(store: Store, run: str) -> Iterator[_Seen]:
    folders: dict[str, dict[str, int]] = {}
    for info in store.list(f"{CHECKPOINTS}/{run}/"):
        folder, _, name = info.key.rpartition("/")
        folders.setdefault(folder, {})[name] = info.size_bytes
    # Rounds are padded with zeros, so the order of names is the order of rounds.
    return (_Seen(folder, folders[folder]) for folder in sorted(folders, reverse=True))


def _looks_whole(store: Store, seen: _Seen) -> bool:
    try:
        manifest, _ = read(store, f"{seen.folder}/{MANIFEST}")
    except (Damaged, NotFound):
        return False
    return all(seen.sizes.get(entry.name) == entry.size_bytes for entry in manifest.files)


def _verified(store: Store, seen: _Seen) -> CheckpointRef:
    key = f"{seen.folder}/{MANIFEST}"
    manifest, body = read(store, key)
    with scratch() as folder:
        for path in fetch(store, key, manifest, folder):
            path.unlink()
    return CheckpointRef(round=manifest.round, key=key, digest=digest(body))
