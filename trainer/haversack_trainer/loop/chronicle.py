"""The run's events, told from the log. Who reads the same log tells of the same happenings; what the log does
not hold (losses, durations, bytes of blobs) only those know who were there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from haversack_trainer.contract.report import (
    Evaluation,
    PeerReport,
    PeerScores,
    Publication,
    Verdict,
)
from haversack_trainer.exchange.log import RunState
from haversack_trainer.report.events import (
    Approved,
    CheckpointSaved,
    Decided,
    Evaluated,
    Event,
    PeerJoined,
    PeerLeft,
    Published,
    RoundClosed,
    RunStarted,
    Scored,
    VerdictGiven,
)

Word = Evaluation | Verdict | Publication | str | tuple[int, PeerScores]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the log does not tell of the newest round: this peer's own measurements and others' reports."""

    blob_bytes: int = 0
    """Size of a blob; all peers' are of the same size."""
    seconds: float | None = None
    exchange_seconds: float | None = None
    waited_seconds: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    reports: Mapping[int, PeerReport] = field(default_factory=dict)


class Chronicle:
    """Remembers how far it has told the log."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._started = False
        self._num_changes = self._num_closed = 0
        self._checkpoint_round = -1
        self._said: set[Word] = set()

    def tell(self, state: RunState, seen: Seen) -> Iterator[Event]:
        """Events of everything that is new in ``state``."""
        if state.start is None:
            return
        if not self._started:
            self._started = True
            yield RunStarted(run=self._run, round=state.round, peers=state.view)
        yield from self._changes(state)
        yield from self._rounds(state, seen)
        yield from self._words(state)

    def _changes(self, state: RunState) -> Iterator[Event]:
        for change in state.history[self._num_changes :]:
            if change.joined:
                yield PeerJoined(peer=change.peer, round=change.round, node=change.node)
            else:
                yield PeerLeft(peer=change.peer, round=change.round, reason=change.reason)
        self._num_changes = len(state.history)

    def _rounds(self, state: RunState, seen: Seen) -> Iterator[Event]:
        newest = state.round - 1
        for closed in state.closed[self._num_closed :]:
            is_newest = closed.round == newest
            yield RoundClosed(
                round=closed.round,
                members=closed.members,
                losses={
                    report.peer: report.loss
                    for report in seen.reports.values()
                    if report.round == closed.round and report.peer in closed.members
                },
                payload_bytes=sum(
                    len(payload.body) + (seen.blob_bytes if payload.body else 0)
                    for payload in closed.payloads
                ),
                seconds=seen.seconds if is_newest else None,
                exchange_seconds=seen.exchange_seconds if is_newest else None,
                waited_seconds=seen.waited_seconds if is_newest else None,
                metrics=dict(seen.metrics) if is_newest else {},
            )
        self._num_closed = len(state.closed)

    def _words(self, state: RunState) -> Iterator[Event]:
        if state.ending is not None and self._is_new(state.ending.reason):
            remark = f"there are no more rounds: {state.ending.reason}"
            yield Decided(round=state.num_rounds or state.round, remark=remark)
        ref = state.checkpoint
        if ref is not None and ref.round > self._checkpoint_round:
            self._checkpoint_round = ref.round
            yield CheckpointSaved(checkpoint=ref)
        if state.evaluation is not None and self._is_new(state.evaluation):
            yield Evaluated(evaluation=state.evaluation)
        for peer, scores in sorted(state.scores.items()):
            if self._is_new((peer, scores)):
                yield Scored(peer=peer, scores=scores)
        if state.verdict is not None and self._is_new(state.verdict):
            yield VerdictGiven(verdict=state.verdict)
        if state.approved_by is not None and self._is_new(state.approved_by):
            yield Approved(by=state.approved_by)
        if state.publication is not None and self._is_new(state.publication):
            yield Published(publication=state.publication)

    def _is_new(self, word: Word) -> bool:
        if word in self._said:
            return False
        self._said.add(word)
        return True
