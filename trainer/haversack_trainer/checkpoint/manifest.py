"""What makes files in a store one thing: a manifest, written last.

A folder without a manifest is not there; one whose files do not have the manifest's sizes and sha256 is
torn and passed over.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

from pydantic import ConfigDict, Field, ValidationError

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import Identity
from haversack_trainer.contract.report import Verdict
from haversack_trainer.objects.base import Conflict, Damaged, NotFound, Store

MANIFEST: Final = "manifest.json"
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CheckpointError(Exception):
    """A state or adapter cannot be written or read; says which and why."""


class FileEntry(Frozen):
    """One file beside the manifest."""

    name: FileName
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class Meta(Frozen):
    """Where a checkpoint or adapter comes from."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    run: str
    method: str
    """Method type."""
    base_model: str
    """Address and revision of the base model, for people; ``identity`` has its digest."""
    identity: Identity
    parent: str | None = None
    """Digest of the manifest that this one continues, if any."""
    metrics: dict[str, float] = Field(default_factory=dict)


class ArchiveRef(Frozen):
    """The run's log in the store, where the method's adapter is a function of it."""

    key: str
    """Of the archive's manifest, relative to the job's folder."""
    digest: Sha256
    """sha256 of that manifest."""
    head: Sha256
    """The log's chained hash after its last round."""
    rounds: int = Field(ge=0)
    """Rounds that it holds."""


class Manifest(Frozen):
    """Body of ``manifest.json``."""

    version: int = Field(default=1, ge=1, le=1)
    round: int = Field(ge=0)
    meta: Meta
    files: tuple[FileEntry, ...]
    """In ascending order of name."""
    verdict: Verdict | None = None
    """Adapters only: the gate's word."""
    archive: ArchiveRef | None = None
    """Adapters only: the log that they can be made from again."""

    def encode(self) -> bytes:
        """The object's bytes."""
        return self.model_dump_json(by_alias=True, indent=2).encode()

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)

    @property
    def folder(self) -> str:
        """``<round>-<first 8 of the content's sha256>``: equal content, equal place."""
        lines = "".join(f"{entry.sha256} {entry.name}\n" for entry in self.files)
        return f"{self.round:010d}-{digest(lines.encode())[:8]}"


def digest(data: bytes) -> str:
    """sha256, hex."""
    return hashlib.sha256(data).hexdigest()


def entries(files: Iterable[tuple[str, int, str]]) -> tuple[FileEntry, ...]:
    """(name, size, sha256) of each file as the manifest has them. Raises ``CheckpointError``."""
    try:
        return tuple(
            FileEntry(name=name, size_bytes=size, sha256=sha256)
            for name, size, sha256 in sorted(files)
        )
    except ValidationError as error:
        names = ", ".join(repr(fault["input"]) for fault in error.errors())
        raise CheckpointError(
            f"{names} cannot be a file of a checkpoint or adapter: use letters, digits, '.', '_', '-'"
        ) from error


def commit(
    store: Store, prefix: str, manifest: Manifest, put: Callable[[str, FileEntry], object]
) -> tuple[str, bytes]:
    """Write the files by ``put(key, entry)``, look at each, write the manifest; (its key, its bytes).

    Two writers of the same content end up with the same manifest, the first one's. Raises
    ``StoreError``; what it leaves then has no manifest.
    """
    folder = f"{prefix}/{manifest.folder}"
    for entry in manifest.files:
        put(f"{folder}/{entry.name}", entry)
        info = store.head(f"{folder}/{entry.name}")
        if info is None or info.size_bytes != entry.size_bytes:
            raise Damaged(f"{folder}/{entry.name} is not in {store.uri} as it was written")
    return f"{folder}/{MANIFEST}", _put_first(store, f"{folder}/{MANIFEST}", manifest)


def _put_first(store: Store, key: str, manifest: Manifest) -> bytes:
    body = manifest.encode()
    if store.probe():
        with suppress(Conflict):
            store.put(key, body, if_absent=True)
            return body
    elif store.head(key) is None:
        store.put(key, body)
        return body
    there, _ = store.get(key)
    if parse(there, key).files != manifest.files:
        raise Conflict(f"{key} in {store.uri} describes other files: delete that folder")
    return there


def read(store: Store, key: str, sha256: str | None = None) -> tuple[Manifest, bytes]:
    """The manifest at ``key``. Raises ``NotFound``, ``Damaged``."""
    body, _ = store.get(key)
    if sha256 not in {None, digest(body)}:
        raise Damaged(f"{key} has sha256 {digest(body)}, not {sha256}: it is another one")
    return parse(body, key), body


def parse(body: bytes, key: str) -> Manifest:
    """Raises ``Damaged``."""
    try:
        return Manifest.model_validate_json(body)
    except ValidationError as error:
        raise Damaged(
            f"{key} is no manifest of this version: {error.error_count()} fault(s)"
        ) from error


def fetch(store: Store, key: str, manifest: Manifest, into: Path) -> Iterator[Path]:
    """Download the files beside the manifest at ``key``, each checked. Raises ``Damaged``, also for
    a file that is not there."""
    folder = key.removesuffix(MANIFEST)
    for entry in manifest.files:
        path = into / entry.name
        try:
            store.download(folder + entry.name, path, entry.sha256)
        except NotFound as error:
            raise Damaged(f"{key} names {entry.name}, which is not there") from error
        yield path


@contextmanager
def scratch(beside: Path | None = None) -> Iterator[Path]:
    """A folder that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix=".haversack-", dir=beside) as name:
        yield Path(name)
