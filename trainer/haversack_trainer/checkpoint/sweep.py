"""Remove what writers that died left behind: unfinished uploads and folders without a manifest."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from haversack_trainer.objects.base import ObjectInfo, Store

from .adapters import ADAPTERS
from .manifest import MANIFEST
from .states import CHECKPOINTS

DAY_SECONDS: Final = 86_400.0


def sweep(store: Store, older_than_seconds: float = DAY_SECONDS) -> int:
    """Delete leftovers of that age; how many uploads and objects went.

    Ages are differences of the store's own clock, so a peer whose clock jumped deletes nothing that
    somebody is still writing.
    """
    before = _now(store) - older_than_seconds
    count = store.abort_uploads(before)
    for top in (CHECKPOINTS, ADAPTERS):
        for leftovers in _partial(store, f"{top}/").values():
            if max(info.modified for info in leftovers) < before:
                count += len(leftovers)
                for info in leftovers:
                    store.delete(info.key)
    return count


def _now(store: Store) -> float:
    key = f"probe/{uuid4().hex}"
    now = store.put(key, b"what time is it").modified
    store.delete(key)
    return now


def _partial(store: Store, prefix: str) -> dict[str, list[ObjectInfo]]:
    folders: dict[str, list[ObjectInfo]] = {}
    for info in store.list(prefix):
        folders.setdefault(info.key.rpartition("/")[0], []).append(info)
    return {
        folder: found
        for folder, found in folders.items()
        if f"{folder}/{MANIFEST}" not in {info.key for info in found}
    }
