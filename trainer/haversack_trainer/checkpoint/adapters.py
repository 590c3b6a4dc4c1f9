"""Published adapters: ``adapters/<round>-<sha8>/`` for ever, and ``latest.json`` that points to one.

Readers never list: pointer, manifest, files, each checked against the one before.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.report import Publication, Verdict
from haversack_trainer.objects.base import Conflict, Damaged, NotFound, Store, StoreError

from .manifest import (
    MANIFEST,
    ArchiveRef,
    CheckpointError,
    FileEntry,
    Manifest,
    Meta,
    Sha256,
    commit,
    digest,
    entries,
    fetch,
    read,
    scratch,
)

ADAPTERS: Final = "adapters"
LATEST: Final = "latest.json"
_POINTER_ATTEMPTS: Final = 20


class Latest(Frozen):
    """Body of ``latest.json``."""

    version: int = Field(default=1, ge=1, le=1)
    epoch: int = Field(ge=1)
    """Rises with every move: the fence where a store does not honour conditional writes."""
    run: str
    round: int
    manifest: str = Field(pattern=rf"^{ADAPTERS}/[0-9]+-[0-9a-f]{{8}}/{MANIFEST}$")
    digest: Sha256
    """sha256 of the manifest."""


def publish_adapter(
    store: Store, folder: Path, verdict: Verdict, meta: Meta, archive: ArchiveRef | None = None
) -> Publication:
    """Publish the files of ``folder`` (PEFT layout) with the verdict that lets them pass.

    May be called by several peers, at once or again after a crash: the outcome is the same. Raises
    ``CheckpointError`` if the verdict is against it, ``StoreError``.
    """
    if not verdict.passed:
        raise CheckpointError(f"the adapter did not pass its gate: {verdict.reason}")
    manifest = Manifest(
        round=verdict.round,
        meta=meta,
        files=entries(_described(folder)),
        verdict=verdict,
        archive=archive,
    )

    def put(key: str, entry: FileEntry) -> None:
        store.put_file(key, folder / entry.name, entry.sha256)

    key, body = commit(store, ADAPTERS, manifest, put)
    _point(store, key, digest(body), manifest)
    return Publication(
        uri=f"{store.uri.rstrip('/')}/{key.removesuffix(f'/{MANIFEST}')}",
        digest=digest(body),
        size_bytes=manifest.size_bytes,
        round=verdict.round,
    )


def latest_adapter(store: Store, into: Path) -> tuple[Path, Manifest] | None:
    """Bring the adapter that ``latest.json`` points to below ``into``; its folder and manifest.

    None if nothing was published yet. Raises ``Damaged`` if any byte differs.
    """
    latest, _ = _latest(store)
    if latest is None:
        return None
    manifest, body = read(store, latest.manifest, latest.digest)
    into.mkdir(parents=True, exist_ok=True)
    target = into / f"{manifest.folder}-{latest.digest[:8]}"
    with scratch(into) as temporary:
        for _path in fetch(store, latest.manifest, manifest, temporary / "adapter"):
            pass
        (temporary / "adapter" / MANIFEST).write_bytes(body)
        if target.exists():
            target.rename(temporary / "replaced")
        (temporary / "adapter").rename(target)
    return target, manifest


def published(store: Store) -> Manifest | None:
    """Manifest of the adapter that ``latest.json`` points to; None if nothing was published yet.

    Raises ``Damaged``, ``NotFound``."""
    latest, _ = _latest(store)
    return None if latest is None else read(store, latest.manifest, latest.digest)[0]


def _described(folder: Path) -> list[tuple[str, int, str]]:
    if not folder.is_dir() or not (paths := sorted(folder.iterdir())):
        raise CheckpointError(f"{folder} holds no adapter: it is empty or not there")
    if nested := [path.name for path in paths if not path.is_file()]:
        raise CheckpointError(f"{folder} holds {nested[0]}, which is no file: adapters are flat")
    return [(path.name, path.stat().st_size, _file_digest(path)) for path in paths]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _latest(store: Store) -> tuple[Latest | None, str | None]:
    """The pointer and its etag."""
    try:
        body, info = store.get(LATEST)
        return Latest.model_validate_json(body), info.etag
    except NotFound:
        return None, None
    except ValidationError as error:
        raise Damaged(f"{LATEST} in {store.uri} is damaged: delete or restore it") from error


def _point(store: Store, key: str, sha256: str, manifest: Manifest) -> None:
    """Move the pointer forward; never back within a run."""
    run, round_ = manifest.meta.run, manifest.round
    for _ in range(_POINTER_ATTEMPTS):
        now, etag = _latest(store)
        if now is not None and (now.digest == sha256 or (now.run == run and now.round > round_)):
            return
        wanted = Latest(
            epoch=now.epoch + 1 if now else 1, run=run, round=round_, manifest=key, digest=sha256
        )
        if _moved(store, wanted, etag):
            return
    raise StoreError(f"{LATEST} in {store.uri} keeps changing: is another job writing there?")


def _moved(store: Store, wanted: Latest, etag: str | None) -> bool:
    body = wanted.model_dump_json(by_alias=True, indent=2).encode()
    if not store.probe():
        store.put(LATEST, body)
        there, _ = _latest(store)
        return there is not None and (there == wanted or there.epoch > wanted.epoch)
    try:
        store.put(LATEST, body, if_absent=etag is None, if_match=etag)
    except Conflict:
        return False
    return True
