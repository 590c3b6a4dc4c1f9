"""The whole log of a run in the store, for methods whose adapter is a function of it.

``archive/<run>/<epoch>-<sha8>.json`` names everything that is needed to make the adapter again: the job file, the
run's logs one after the other, and what connects them. A run that was resumed has several: each begins at
the checkpoint that its START names. Frames lie in segments named by their content; a manifest is written
last, and only then goes what it replaces. There is no secret in any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field, ValidationError

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.membership import Identity, Start
from haversack_trainer.contract.records import CorruptRecord, Record
from haversack_trainer.exchange.ledger import Forked, Ledger
from haversack_trainer.objects.base import Damaged, NotFound, Store

from .manifest import ArchiveRef, Manifest, Sha256, digest

ARCHIVE: Final = "archive"
SEGMENT_BYTES: Final = 2**20
"""A segment that has grown to this is full; the newest one is written again until then. Full ones are only written
again to become a bigger one (``compaction``)."""
_log: Final = logging.getLogger(__name__)


class Segment(Frozen):
    """A stretch of a log, frames end to end."""

    key: str
    next: int = Field(ge=1)
    """Position after its last record."""
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class LogPart(Frozen):
    """One log: what one hub kept, from its first record to the close of its last round."""

    opening: Sha256
    """Of its first frame. A JOIN has a random incarnation: no two logs begin alike."""
    start: Start
    base: Manifest | None = None
    """Manifest of the checkpoint that ``start`` names, by which it is known again without being kept."""
    segments: tuple[Segment, ...]
    next: int = Field(ge=1)
    """Number of records."""
    head: Sha256
    """The chain's hash after them."""
    rounds: int = Field(ge=0)
    """Rounds of the run that are closed after them."""


class Archive(Frozen):
    """Body of an archive's manifest."""

    version: int = Field(default=1, ge=1, le=1)
    epoch: int = Field(ge=1)
    """Rises with every manifest of the run."""
    job: JobFile
    classes: tuple[str, ...]
    """Names of the data set's classes; a new head has one row for each."""
    identity: Identity
    logs: tuple[LogPart, ...] = Field(min_length=1)
    """In the order in which they were written."""

    @property
    def rounds(self) -> int:
        """Rounds that can be made again."""
        return self.logs[-1].rounds

    def encode(self) -> bytes:
        """The object's bytes."""
        return self.model_dump_json(by_alias=True, indent=1).encode()


@dataclass(frozen=True, slots=True)
class Found:
    """An archive as it is in the store."""

    archive: Archive
    ref: ArchiveRef


def newest(store: Store, run: str) -> Found | None:
    """The run's newest archive; None if there is none. Raises ``StoreError``."""
    keys = sorted(info.key for info in store.list(f"{ARCHIVE}/{run}/"))
    for key in reversed([key for key in keys if key.endswith(".json")]):
        try:
            body, _ = store.get(key)
            return _found(key, body)
        except (Damaged, NotFound) as error:
            _log.warning("passing over an archive that is not whole: %s", error)
    return None


def read(store: Store, ref: ArchiveRef) -> Archive:
    """The archive that ``ref`` names. Raises ``NotFound``, ``Damaged``."""
    body, _ = store.get(ref.key)
    found = _found(ref.key, body)
    if found.ref != ref:
        raise Damaged(
            f"{ref.key} in {store.uri} is not the archive that was published: it was changed"
        )
    return found.archive


def write(
    store: Store, archive: Archive, segments: Mapping[str, bytes], replaced: Found | None
) -> ArchiveRef:
    """Write new segments, by key, then the manifest; then remove what that replaced.

    Raises ``StoreError``; what it leaves then is no part of an archive.
    """
    for segment_key, frames in segments.items():
        store.put(segment_key, frames)
        info = store.head(segment_key)
        if info is None or info.size_bytes != len(frames):
            raise Damaged(f"{segment_key} is not in {store.uri} as it was written")
    body = archive.encode()
    key = f"{ARCHIVE}/{archive.job.run}/{archive.epoch:08d}-{digest(body)[:8]}.json"
    store.put(key, body)
    if replaced is not None:
        for old in sorted({replaced.ref.key, *_keys(replaced.archive)} - {key, *_keys(archive)}):
            store.delete(old)
    return _ref(key, body, archive)


def records(store: Store, archive: Archive, part: LogPart) -> list[Record]:
    """All records of one log, each byte checked. Raises ``Damaged``."""
    frames = bytearray()
    for segment in part.segments:
        try:
            piece, _ = store.get(segment.key)
        except NotFound as error:
            raise Damaged(
                f"{segment.key}, a part of the run's log, is not in {store.uri}"
            ) from error
        if (len(piece), digest(piece)) != (segment.size_bytes, segment.sha256):
            raise Damaged(
                f"{segment.key} in {store.uri} is damaged: its bytes are not those of the log"
            )
        frames += piece
    try:
        found = Ledger(archive.job.run).follow(bytes(frames), bytes.fromhex(part.head))
    except (CorruptRecord, Forked) as error:
        raise Damaged(f"the log in {store.uri}/{ARCHIVE} is not whole: {error}") from error
    return found


def _keys(archive: Archive) -> set[str]:
    return {segment.key for part in archive.logs for segment in part.segments}


def _found(key: str, body: bytes) -> Found:
    try:
        archive = Archive.model_validate_json(body)
    except ValidationError as error:
        raise Damaged(f"{key} is damaged: it is no archive's manifest") from error
    return Found(archive, _ref(key, body, archive))


def _ref(key: str, body: bytes, archive: Archive) -> ArchiveRef:
    return ArchiveRef(
        key=key, digest=digest(body), head=archive.logs[-1].head, rounds=archive.rounds
    )
