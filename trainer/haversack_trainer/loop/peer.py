"""A peer from JOIN to the end of its run."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from haversack_trainer.checkpoint.manifest import CheckpointError
from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.records import Kind
from haversack_trainer.contract.report import PeerState
from haversack_trainer.exchange.backoff import Backoff, pause
from haversack_trainer.exchange.base import (
    Evicted,
    Exchange,
    ExchangeError,
    Outgoing,
    Stale,
    Stop,
    Stopped,
    Swap,
)
from haversack_trainer.exchange.log import RunState
from haversack_trainer.method import SPENT, CannotCatchUp, Method, NoConsensus, Trainee
from haversack_trainer.objects.base import StoreError

from .archiving import Archiving
from .entry import Entry, is_over
from .finish import Finish
from .judge import Judge
from .recorder import Recorder
from .saves import Saves
from .snapshot import Snapshot
from .stories import Stories

_MAX_PAUSE_SECONDS: Final = 30.0
"""Between two lives as a member: a process that is put out again and again must not flood the log with JOINs."""
_FEED_SECONDS: Final = 10.0
"""The log is read beside what is written: an answer may tell of records that are still on their way."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """Everything that a peer works with."""

    job: JobFile
    exchange: Exchange
    model: Trainee
    method: Method
    entry: Entry
    saves: Saves
    judge: Judge
    recorder: Recorder
    stories: Stories
    finish: Finish
    archiving: Archiving | None
    """Where the log is the adapter."""
    stop: Stop


class Peer:
    """Enters, trains, finishes; an evicted process joins again, a stopped one saves and leaves."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._fresh = Snapshot.of(0, seat.model, seat.method, after=None)
        self._snapshot = self._fresh
        self._has_stepped_down = False
        self._backoff = Backoff(most_seconds=_MAX_PAUSE_SECONDS)

    @property
    def _rounds(self) -> int:
        return self._seat.exchange.state.rounds(self._seat.job.training.rounds)

    def run(self) -> None:
        """Returns when the run is over. Raises ``Stopped`` after saving, ``Refused``, ``Superseded``,
        ``ExchangeError``, and ``StoreError`` where it cannot do without the store."""
        with closing(self._seat.recorder) as recorder:
            try:
                while not self._has_finished():
                    pause(self._backoff.next_seconds(), self._seat.stop)
                    _logger.info("joining again")
            except Stopped:
                self._save_and_leave()
                raise
            recorder.catch_up()
            recorder.state(PeerState.DONE)

    def _has_finished(self) -> bool:
        """One life as a member; False if it ended by eviction."""
        seat = self._seat
        try:
            incarnation = seat.entry.join()
            seat.recorder.state(PeerState.WAITING)
            seat.entry.wait(incarnation)
            self._backoff.reset()
            seat.recorder.catch_up()
            if not is_over(seat.exchange.state, self._rounds):
                self._adopt_state()
                self._train()
                self._score()
                seat.finish.run(self._load_last_consensus)
        except (Evicted, Stale, NoConsensus) as eviction:
            _logger.warning("%s", eviction)
            return False
        return True

    def _adopt_state(self) -> None:
        """Come to the state before the open round, from the nearest one that there is."""
        seat, state = self._seat, self._seat.exchange.state
        base = self._nearest(state)
        if (self._fresh.extra or {}).get(SPENT) is not None:
            base = base.with_spent(seat.saves.pledged())
        base.restore(seat.model, seat.method, self._fresh)
        missed = [closed for closed in state.closed if closed.round >= base.round]
        try:
            seat.method.catch_up(missed, seat.exchange.fetch)
        except CannotCatchUp as error:
            _logger.warning("going on from the state after round %d: %s", base.round, error)
            base.restore(seat.model, seat.method, self._fresh)
        after = state.closed[-1] if state.closed else None
        self._snapshot = Snapshot.of(state.round, seat.model, seat.method, after)

    def _nearest(self, state: RunState) -> Snapshot:
        """Raises ``StoreError`` or ``CheckpointError`` where only an unreadable checkpoint would do."""
        base = self._snapshot if self._snapshot.belongs_to(state) else self._fresh
        ref, start = state.checkpoint, state.start
        if ref is None or ref.round <= base.round:
            return base
        try:
            return self._seat.saves.load(ref)
        except (StoreError, CheckpointError) as error:
            if start is not None and base.round < start.round:
                raise
            _logger.warning("the checkpoint of round %d cannot be used: %s", ref.round, error)
            return base

    def _train(self) -> None:
        seat = self._seat
        seat.recorder.state(PeerState.TRAINING)
        while True:
            if self._snapshot.round < seat.exchange.state.round:
                # Whole rounds were closed without this peer, by their deadlines.
                self._adopt_state()
            if self._snapshot.round >= self._rounds:
                return
            self._one_round(self._snapshot.round)

    def _one_round(self, round: int) -> None:
        seat = self._seat
        seat.recorder.begin(round)
        step = seat.method.local_step(round)
        seat.recorder.stepped(step)
        if step.ending is not None and round + 1 < self._rounds:
            self._say(Kind.ENDING, round, step.ending)
        outgoing = seat.method.outgoing()
        if step.spent is not None:
            seat.saves.pledge(step.spent, seat.stop)
        self._publish(round, outgoing)
        if round + 1 < self._rounds:
            seat.method.ahead(round + 1)
        swap = self._collect(round)
        metrics = seat.method.incoming(swap)
        self._snapshot = Snapshot.of(round + 1, seat.model, seat.method, swap.closed)
        seat.recorder.closed(len(outgoing.blob or b""), metrics)
        self._keep(round + 1)

    def _publish(self, round: int, outgoing: Outgoing) -> None:
        """In time or late; what is too late even for that is dropped."""
        try:
            self._seat.exchange.publish(round, outgoing, self._seat.stop)
        except Stale as error:
            self._see_missed(round, error)

    def _collect(self, round: int) -> Swap:
        try:
            return self._seat.exchange.collect(round, self._seat.stop)
        except Stale as error:
            # Of bulk that came too late.
            self._see_missed(round, error)
            return self._seat.exchange.collect(round, self._seat.stop)

    def _see_missed(self, round: int, error: Stale) -> None:
        """Raises ``error`` unless a deadline closed the round without this peer."""
        seat = self._seat
        seat.exchange.wait_for(lambda state: state.round > round, seat.stop, _FEED_SECONDS)
        closed = seat.exchange.state.closed_round(round)
        if closed is None or seat.exchange.me not in closed.missed:
            raise error
        _logger.warning("what this peer made of round %d is not used: %s", round, error)

    def _keep(self, done: int) -> None:
        """Evaluate and save where this round asks for it."""
        job = self._seat.job
        is_leader = self._seat.exchange.state.leader == self._seat.exchange.me
        try:
            if is_leader and done % job.evaluation.period_rounds == 0:
                self._evaluate(done)
            if done % job.checkpoint.period_rounds == 0 or done == self._rounds:
                self._save(is_leader=is_leader)
        except NoConsensus as error:
            _logger.warning("nothing is evaluated or saved after round %d: %s", done, error)

    def _evaluate(self, done: int) -> None:
        seat = self._seat
        self._load_consensus()
        seat.recorder.state(PeerState.EVALUATING)
        evaluation = seat.judge.evaluation(done)
        seat.model.load_trainable_state(self._snapshot.tensors)
        self._say(Kind.EVALUATION, done, evaluation)
        seat.recorder.state(PeerState.TRAINING)

    def _score(self) -> None:
        """Say what this peer's own model is worth, where the job asks for it."""
        seat = self._seat
        if seat.judge.personal is not None:
            seat.recorder.state(PeerState.EVALUATING)
            scores = seat.judge.own_scores(seat.judge.personal, self._rounds)
            self._say(Kind.SCORES, self._rounds, scores)

    def _save(self, *, is_leader: bool) -> None:
        """Save the snapshot. A store that fails costs a checkpoint, not the run."""
        seat, done = self._seat, self._snapshot.round
        try:
            seat.saves.own(self._snapshot)
            if is_leader:
                if seat.archiving is not None:
                    # First: a run that goes on from a checkpoint needs the log that led there.
                    seat.archiving.keep()
                ref = seat.saves.shared(done, self._consensus(), self._snapshot.extra)
                self._say(Kind.CHECKPOINT, done, ref)
                seat.stories.keep()
        except (StoreError, CheckpointError) as error:
            _logger.warning("no checkpoint after round %d: %s", done, error)
            seat.recorder.checkpoint_failed(done, str(error))

    def _say(self, kind: Kind, done: int, word: Frozen) -> None:
        """A word to all. If it is somebody else's to say by now, it is left to them."""
        try:
            self._seat.exchange.append(kind, done, word.model_dump_json(by_alias=True).encode())
        except Stale as error:
            _logger.warning("%s", error)

    def _consensus(self) -> dict[str, Tensor]:
        """The run's adapter after the snapshot's round. The model must be in the snapshot's state."""
        seat, closed, ref = self._seat, self._snapshot.after, self._seat.exchange.state.checkpoint
        if closed is None and ref is not None and ref.round == self._snapshot.round:
            return seat.saves.adapter(ref)
        if closed is None:
            return dict(self._snapshot.tensors)
        try:
            found = seat.method.consensus(closed, seat.exchange.fetch)
        except CannotCatchUp as error:
            seat.recorder.stood_in(closed.round, str(error))
            return dict(self._snapshot.tensors)
        seat.recorder.averaged()
        return found

    def _load_consensus(self) -> None:
        self._seat.model.load_trainable_state(self._consensus())

    def _load_last_consensus(self) -> None:
        """One who does not know the run's adapter lets another one finish, by joining again; once only:
        there may be nobody left who does."""
        try:
            self._load_consensus()
        except NoConsensus as error:
            if not self._has_stepped_down:
                self._has_stepped_down = True
                raise
            _logger.warning("this peer's own adapter is all that is left: %s", error)
            self._seat.model.load_trainable_state(self._snapshot.tensors)

    def _save_and_leave(self) -> None:
        """SIGTERM: keep the last whole round. What does not work any more is said and left."""
        seat, state = self._seat, self._seat.exchange.state
        if state.leader == seat.exchange.me:
            seat.stories.keep(at_once=True)
        saved = state.checkpoint.round if state.checkpoint else 0
        if self._snapshot.belongs_to(state) and self._snapshot.round > saved:
            self._snapshot.restore(seat.model, seat.method, self._fresh)
            try:
                self._save(is_leader=state.leader == seat.exchange.me)
            except (ExchangeError, NoConsensus) as error:
                _logger.warning("no checkpoint on leaving: %s", error)
        seat.exchange.leave("stopped")
