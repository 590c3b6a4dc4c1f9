"""The run's log, copied to the store by the leader: with each checkpoint, and when all rounds are done."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from haversack_trainer.checkpoint import archive, manifest
from haversack_trainer.checkpoint.archive import ARCHIVE, SEGMENT_BYTES, Archive, LogPart, Segment
from haversack_trainer.checkpoint.manifest import ArchiveRef, Manifest, digest
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.membership import Identity, Start
from haversack_trainer.exchange.base import Exchange
from haversack_trainer.objects.base import Damaged, NotFound, Store

from .saves import PATIENCE_SECONDS

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Archiving:
    """What a leader needs to keep the archive."""

    store: Store
    job: JobFile
    classes: tuple[str, ...]
    identity: Identity
    exchange: Exchange
    segment_bytes: int = SEGMENT_BYTES

    def keep(self) -> ArchiveRef | None:
        """See that all closed rounds are in the archive; None if no round is. Raises ``StoreError``.

        An archive ends where a round closed, so that all who lead write the same.
        """
        state, store = self.exchange.state, self.store.within(PATIENCE_SECONDS)
        if state.start is None:
            return None
        found = archive.newest(store, self.job.run)
        if not state.closed:
            # A run that went on when all was trained: the log before this one is the whole.
            return found.ref if found and found.archive.rounds == state.round else None
        end = state.closed[-1].position
        logs = found.archive.logs if found else ()
        ours = logs[-1] if logs and self._is_ours(logs[-1], end) else None
        if found is not None and ours is not None and ours.next >= end:
            return found.ref
        part, frames = self._grown(ours, state.start, end)
        extended = Archive(
            epoch=found.archive.epoch + 1 if found else 1,
            job=self.job,
            classes=self.classes,
            identity=self.identity,
            logs=(*_needed(logs[:-1] if ours else logs, state.start), part),
        )
        return archive.write(store, extended, frames, found)

    def _is_ours(self, part: LogPart, end: int) -> bool:
        """Whether it is an archive of the log that this peer follows; it may be ahead of this peer."""
        if part.opening != self._opening:
            return False
        return part.next > end or part.head == self.exchange.tail(part.next, part.next).head.hex()

    @property
    def _opening(self) -> str:
        return digest(self.exchange.tail(0, 1).frames)

    def _grown(self, ours: LogPart | None, start: Start, end: int) -> tuple[LogPart, bytes]:
        """The log up to ``end``, and the frames of its last segment, which are to be written."""
        sealed = (
            tuple(s for s in ours.segments if s.size_bytes >= self.segment_bytes) if ours else ()
        )
        tail = self.exchange.tail(sealed[-1].next if sealed else 0, end)
        sha256 = digest(tail.frames)
        key = f"{ARCHIVE}/{self.job.run}/{sha256[:16]}.log"
        segment = Segment(key=key, next=end, size_bytes=len(tail.frames), sha256=sha256)
        return LogPart(
            opening=self._opening,
            start=start,
            base=ours.base if ours else self._base(start),
            segments=(*sealed, segment),
            next=end,
            head=tail.head.hex(),
            rounds=self.exchange.state.round,
        ), tail.frames

    def _base(self, start: Start) -> Manifest | None:
        if start.checkpoint is None:
            return None
        try:
            return manifest.read(self.store, start.checkpoint.key, start.checkpoint.digest)[0]
        except (Damaged, NotFound) as error:
            _logger.warning("the archive cannot say what this log began from: %s", error)
            return None


def _needed(logs: tuple[LogPart, ...], start: Start) -> tuple[LogPart, ...]:
    """Logs without which a log that begins at ``start`` says nothing; all of later rounds were given up."""
    return tuple(part for part in logs if part.start.round < start.round)
