"""Checkpoints of a run: ``checkpoints/<run>/<round>-<sha8>/``, newest whole one first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.objects.base import Damaged, NotFound, ObjectInfo, Store

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


def newest(store: Store, run: str, round: int | None = None) -> CheckpointRef | None:
    """The run's newest checkpoint, or that of ``round``, of which every byte is right; None if there is
    none. Torn ones are passed over."""
    for seen in _newest_first(store, run):
        if round not in {None, seen.round}:
            continue
        try:
            return _verified(store, seen)
        except (Damaged, NotFound) as error:
            _log.warning("passing over a checkpoint that is not whole: %s", error)
    return None


def prune(store: Store, run: str, keep: int, upto: int) -> int:
    """Delete what is older than the run's ``keep`` newest whole checkpoints up to round ``upto``; how many
    folders went.

    Later ones neither go nor count: they may be another leader's, or damaged ones that this run could
    not go on from. Whole here means that all files are there in their sizes: hashes are looked at when
    loading.
    """
    whole = deleted = 0
    for seen in _newest_first(store, run):
        if seen.round > upto:
            continue
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
    modified: float
    """When its last file was written, by the store's clock."""

    @property
    def round(self) -> int:
        """As its name says; -1 for a folder that is none of ours."""
        number = self.folder.rpartition("/")[2].partition("-")[0]
        return int(number) if number.isdecimal() else -1


def _newest_first(store: Store, run: str) -> list[_Seen]:
    folders: dict[str, list[ObjectInfo]] = {}
    for info in store.list(f"{CHECKPOINTS}/{run}/"):
        folders.setdefault(info.key.rpartition("/")[0], []).append(info)
    seen = [
        _Seen(
            folder,
            {info.key.rpartition("/")[2]: info.size_bytes for info in found},
            max(info.modified for info in found),
        )
        for folder, found in folders.items()
    ]
    # Of two of the same round the one that was written last is what the run went on from.
    return sorted(seen, key=lambda one: (one.round, one.modified), reverse=True)


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
