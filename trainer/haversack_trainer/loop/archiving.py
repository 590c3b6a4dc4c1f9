"""The run's log, copied to the store by the leader: with each checkpoint, and when all rounds are done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from haversack_trainer.checkpoint import archive, manifest
from haversack_trainer.checkpoint.archive import ARCHIVE, SEGMENT_BYTES, Archive, LogPart, Segment
from haversack_trainer.checkpoint.compaction import Span, merged
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
        part, written = self._grown(ours, state.start, end)
        extended = Archive(
            epoch=found.archive.epoch + 1 if found else 1,
            job=self.job,
            classes=self.classes,
            identity=self.identity,
            logs=(*_needed(logs[:-1] if ours else logs, state.start), part),
        )
        return archive.write(store, extended, written, found)

    def _is_ours(self, part: LogPart, end: int) -> bool:
        """Whether it is an archive of the log that this peer follows; it may be ahead of this peer."""
        if part.opening != self._opening:
            return False
        return part.next > end or part.head == self.exchange.tail(part.next, part.next).head.hex()

    @property
    def _opening(self) -> str:
        return digest(self.exchange.tail(0, 1).frames)

    def _grown(
        self, ours: LogPart | None, start: Start, end: int
    ) -> tuple[LogPart, dict[str, bytes]]:
        """The log up to ``end``, and the frames of its segments that are to be written, by key."""
        there = {(first, segment.next): segment for first, segment in _placed(ours)}
        segments, written, first = [], {}, 0
        for span in self._spans(ours, end):
            segment = there.get((first, span.next))
            if segment is None:
                segment, frames = self._segment(first, span.next)
                written[segment.key] = frames
            segments.append(segment)
            first = span.next
        return LogPart(
            opening=self._opening,
            start=start,
            base=ours.base if ours else self._base(start),
            segments=tuple(segments),
            next=end,
            head=self.exchange.tail(end, end).head.hex(),
            rounds=self.exchange.state.round,
        ), written

    def _spans(self, ours: LogPart | None, end: int) -> tuple[Span, ...]:
        """Full segments, those of them that are many and small as one, and what came since."""
        full = [
            Span(segment.next, segment.size_bytes)
            for segment in (ours.segments if ours else ())
            if segment.size_bytes >= self.segment_bytes
        ]
        first = full[-1].next if full else 0
        newest = Span(end, len(self.exchange.tail(first, end).frames))
        return merged([*full, newest], self.segment_bytes)

    def _segment(self, first: int, end: int) -> tuple[Segment, bytes]:
        frames = self.exchange.tail(first, end).frames
        sha256 = digest(frames)
        key = f"{ARCHIVE}/{self.job.run}/{sha256[:16]}.log"
        return Segment(key=key, next=end, size_bytes=len(frames), sha256=sha256), frames

    def _base(self, start: Start) -> Manifest | None:
        if start.checkpoint is None:
            return None
        try:
            return manifest.read(self.store, start.checkpoint.key, start.checkpoint.digest)[0]
        except (Damaged, NotFound) as error:
            _logger.warning("the archive cannot say what this log began from: %s", error)
            return None


def _placed(part: LogPart | None) -> Iterator[tuple[int, Segment]]:
    """Its segments, each with the position of its first record."""
    first = 0
    for segment in part.segments if part else ():
        yield first, segment
        first = segment.next


def _needed(logs: tuple[LogPart, ...], start: Start) -> tuple[LogPart, ...]:
    """Logs without which a log that begins at ``start`` says nothing; all of later rounds were given up."""
    return tuple(part for part in logs if part.start.round < start.round)
