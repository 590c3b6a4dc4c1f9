"""Into the run: JOIN, START by the lowest member, and the state that the others are in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.membership import Identity, Join, Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.exchange.base import Exchange, Stop
from haversack_trainer.exchange.log import RunState

from .saves import Saves

_logger = logging.getLogger(__name__)


def is_over(state: RunState, rounds: int) -> bool:
    """Published, or judged and found wanting."""
    failed = (
        state.verdict is not None and not state.verdict.passed and state.verdict.round == rounds
    )
    return state.publication is not None or failed


@dataclass(frozen=True, slots=True)
class Entry:
    """How one process becomes a member."""

    job: JobFile
    exchange: Exchange
    saves: Saves
    identity: Identity
    attempt: int
    node: str
    stop: Stop
    clock: Callable[[], float] = time.monotonic

    def join(self) -> str:
        """Ask to be a member; the incarnation that was asked for. Raises ``Refused``, ``Evicted``, ``Superseded``."""
        incarnation = uuid4().hex
        self.exchange.join(
            Join(
                identity=self.identity,
                attempt=self.attempt,
                incarnation=incarnation,
                node=self.node,
            )
        )
        _logger.info("joined %s as peer %d", self.job.run, self.exchange.me)
        return incarnation

    def wait(self, incarnation: str) -> None:
        """Until this process is in the view of a run that has started, or the run is over.

        Raises ``Evicted``, ``Stopped``, and ``StoreError`` if this peer has to look for a checkpoint to
        start from and cannot.
        """
        # The state may still be that of an earlier life of this peer.
        self.exchange.wait_for(lambda state: self._is_in(state, incarnation), self.stop)
        self._await_start(self.clock() + self.job.gang_timeout_seconds)
        wanted = self.job.training.rounds
        self.exchange.wait_for(
            lambda state: self.exchange.me in state.view or is_over(state, state.rounds(wanted)),
            self.stop,
        )

    def _is_in(self, state: RunState, incarnation: str) -> bool:
        join = state.joins.get(self.exchange.me)
        return join is not None and join.incarnation == incarnation

    def _await_start(self, deadline: float) -> None:
        while self.exchange.state.start is None:
            left = deadline - self.clock()
            self.exchange.wait_for(
                lambda state: state.start is not None or self._may_start(state, deadline),
                self.stop,
                timeout_seconds=left if left > 0 else None,
            )
            if self.exchange.state.start is None and self._may_start(self.exchange.state, deadline):
                self._start()

    def _may_start(self, state: RunState, deadline: float) -> bool:
        """Only the lowest member may; it waits for all, and after a time for enough."""
        enough = self.job.num_peers if self.clock() < deadline else self.job.min_peers
        return state.leader == self.exchange.me and len(state.view) >= enough

    def _start(self) -> None:
        checkpoint = self.saves.newest()
        first = checkpoint.round if checkpoint else 0
        _logger.info("starting round %d with peers %s", first, self.exchange.state.view)
        body = Start(round=first, checkpoint=checkpoint).model_dump_json(by_alias=True).encode()
        self.exchange.append(Kind.START, first, body)
        self.exchange.wait_for(
            lambda state: state.start is not None or state.leader != self.exchange.me, self.stop
        )
