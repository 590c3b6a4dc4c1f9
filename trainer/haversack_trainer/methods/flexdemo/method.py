"""FlexDeMo: peers train in step and exchange the part of their momentum that moves (arXiv 2411.19870, 2502.06728).

A round is one exchange: one gradient of each peer, or ``syncEvery`` local steps with DiLoCo. A peer takes its
gradient into its momentum, publishes what the scheme picks of it, takes that out again, and all take the
same step along the mean of what was published, so that the weights stay equal bit by bit. What was not sent
stays in the momentum and goes out later.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.exchange.base import ExchangeError, Gone, Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import (
    Batches,
    CannotCatchUp,
    Fetch,
    NoConsensus,
    StepResult,
    Trainee,
    dropout_seed,
)
from haversack_trainer.sharding import Shards

from .course import Course, unpack
from .engine import Engine, OneProcess
from .probe import Part
from .settings import Scheme, Settings
from .several import SeveralProcesses
from .standing import Standing, standing
from .values import PayloadError
from .word import Saying, Word

_LOST: Final = -1
"""Not in the state before any round."""
_logger = logging.getLogger(__name__)


class FlexDeMo:
    """In sync while ``_round`` is the open round; otherwise hungry for the others' state."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: Trainee,
        batches: Batches,
        *,
        schedule: Schedule = STEADY,
        shards: Shards | None = None,
    ) -> None:
        """``shards``: where the peer is a pod whose processes share the model out."""
        self._settings, self._schedule, self._peer, self._seed = settings, schedule, peer, seed
        self._model, self._batches = model, batches
        self._course = Course.of(settings, seed)
        max_norm = float(settings.max_grad_norm)
        self._engine: Engine = (
            OneProcess(model, self._course.options, max_norm)
            if shards is None
            else SeveralProcesses(model, shards, self._course.options, max_norm)
        )
        self._remark = ""
        self._step_seconds = 0.0
        self._round = 0
        self._giver: int | None = None
        self._word = Word(Saying.HUNGRY)
        self._payload = b""
        self._ahead: tuple[int, StepResult] | None = None

    def ahead(self, round: int) -> None:
        if self._course.delay and self._round == round - 1:
            self._ahead = round, self._local_steps(round)

    def local_step(self, round: int) -> StepResult:
        self._payload = b""
        if self._round != round:
            self._word = Word(Saying.HUNGRY)
            return StepResult(loss=math.nan, num_samples=0)
        checksum = self._engine.checksum() if self._is_checked(round) else None
        begin = time.perf_counter()
        done, self._ahead = self._ahead, None
        result = done[1] if done and done[0] == round else self._local_steps(round)
        self._word = Word(self._prepare(round, result.loss), checksum, self._told(round))
        self._step_seconds = time.perf_counter() - begin
        remark, self._remark = self._remark, ""
        return replace(result, remark=remark)

    def _prepare(self, round: int, loss: float) -> Saying:
        """Make the payload, if there is to be one."""
        gives, is_silent = self._giver == self._peer, self._course.is_silent(round)
        if gives or is_silent:
            self._engine.compress(hold=True)
            return Saying.STATE if gives else Saying.HELD
        if math.isfinite(loss):
            self._payload = self._engine.compress()
        return Saying.CONTRIBUTION if self._payload else Saying.NONFINITE

    def _told(self, round: int) -> bytes | None:
        probe = self._course.probe
        return probe.told() if probe and probe.part(round) is Part.TELL else None

    def _is_checked(self, round: int) -> bool:
        every = self._settings.checksum_every
        return every > 0 and round % every == 0

    def _local_steps(self, round: int) -> StepResult:
        losses: list[float] = []
        num_samples = 0
        count = self._course.num_steps
        for number, step in enumerate(range(round * count, (round + 1) * count)):
            self._engine.pace(self._schedule.factor(round, number, count))
            batch = self._batches.micro_batches(step)
            num_samples += sum(micro.num_samples for micro in batch)
            torch.manual_seed(dropout_seed(self._seed, self._peer, step))
            loss = self._engine.gradient(batch)
            losses.append(loss if self._is_taken(loss) else math.nan)
        finite = [loss for loss in losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(finite) / len(finite) if finite else math.nan,
            num_samples=num_samples,
            num_nonfinite_steps=len(losses) - len(finite),
            num_steps=len(finite),
        )

    def _is_taken(self, loss: float) -> bool:
        """Whether the step counts; with DiLoCo, take it."""
        if not math.isfinite(loss):
            return False
        scheme = self._course.options.scheme
        return scheme is not Scheme.DILOCO or self._engine.inner_step()

    def outgoing(self) -> Outgoing:
        # A state is many payloads long, and only who is hungry needs it.
        wants_all = self._giver is None or self._word.saying is Saying.HUNGRY
        return Outgoing(body=self._word.encode(), blob=self._blob(), wants_all=wants_all)

    def _blob(self) -> bytes | None:
        match self._word.saying:
            case Saying.CONTRIBUTION:
                return self._payload
            case Saying.STATE:
                return self._course.pack(self._engine.shared_state())
            case Saying.NONFINITE | Saying.HUNGRY | Saying.HELD:
                return None

    def incoming(self, swap: Swap) -> dict[str, float]:
        closed, after = swap.closed, standing(swap.closed)
        was_hungry = self._round != closed.round
        if self._payload and swap.me not in closed.members:
            self._engine.take_back(self._payload)
        num_counted = 0
        if swap.me == after.founder:
            self._found(closed.round + 1)
        elif swap.me in after.strays:
            self._lose()
        else:
            num_counted = self._follow(closed, after, self._own_first(swap))
        self._giver = after.giver
        is_in_sync = self._round == closed.round + 1
        if is_in_sync:
            self._measure(swap)
            self._decide(closed.round, after.told)
        return {
            "contributors": float(num_counted),
            "resyncs": float(was_hungry and is_in_sync),
            "hungry": float(not is_in_sync),
            **(self._engine.metrics if self._payload else {}),
        }

    def _found(self, round: int) -> None:
        """The run starts anew at ``round``, from this peer's weights."""
        self._adopt(Course.of(self._settings, self._seed, round))
        self._engine.forget()
        self._round = round

    def _measure(self, swap: Swap) -> None:
        if self._course.probe and self._word.saying is not Saying.HUNGRY:
            self._course.probe.saw(swap.closed.round, self._step_seconds, swap.exchange_seconds())

    def _decide(self, round: int, told: Iterable[bytes]) -> None:
        """After a probe's last round, everybody in sync chooses, and chooses alike."""
        if self._course.part(round) is not Part.TELL:
            return
        course, self._remark = self._course.decided(round, told, self._engine.payload_bytes)
        self._adopt(course)
        if self._remark:
            _logger.info("%s", self._remark)

    def _adopt(self, course: Course) -> None:
        self._course = course
        self._engine.adopt(course.options)

    def _own_first(self, swap: Swap) -> Callable[[int], bytes]:
        """What this peer published itself, it need not fetch."""
        return lambda peer: self._payload if peer == swap.me and self._payload else swap.fetch(peer)

    def _follow(self, closed: ClosedRound, after: Standing, fetch: Callable[[int], bytes]) -> int:
        """Come from before the round to after it, with the source's state if there is no own; how many
        payloads counted. Whoever cannot is lost until somebody gives a state."""
        if after.founder is not None:
            self._lose()
            return 0
        try:
            if self._round != closed.round:
                if after.source is None:
                    return 0
                self._load(fetch(after.source))
            payloads = [fetch(peer) for peer in after.contributors]
        except (ExchangeError, PayloadError) as error:
            if isinstance(error, ExchangeError) and type(error) not in {ExchangeError, Gone}:
                raise
            _logger.warning("out of step after round %d: %s", closed.round, error)
            self._lose()
            return 0
        is_silent = self._course.is_silent(closed.round)
        self._round = closed.round + 1
        self._engine.pace(self._schedule.factor(closed.round))
        return 0 if is_silent else self._engine.apply(payloads)

    def _load(self, blob: bytes) -> None:
        """Take another peer's course and state. Raises ``PayloadError``."""
        course, state = unpack(blob)
        self._adopt(Course.of(self._settings, self._seed).restored(course))
        self._engine.load_shared_state(state)

    def _lose(self) -> None:
        self._round, self._ahead = _LOST, None

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Replay the rounds if their payloads are still there and not more than the state itself."""
        rounds = list(history)
        standings = [standing(closed) for closed in rounds]
        if not rounds:
            return
        num_payloads = sum(len(after.contributors) for after in standings)
        if num_payloads * self._engine.payload_bytes() > self._engine.shared_bytes:
            self._lose()
        for closed, after in zip(rounds, standings, strict=True):
            if self._peer in after.strays:
                self._lose()
                continue
            self._follow(closed, after, lambda peer, closed=closed: fetch(closed, peer))  # type: ignore[misc]  # mypy cannot infer the default's type
            if self._round == closed.round + 1:
                self._decide(closed.round, after.told)
        self._giver = standings[-1].giver

    def consensus(self, closed: ClosedRound, _fetch: Fetch) -> dict[str, Tensor]:
        """The state of everybody who is in step."""
        if self._round == closed.round + 1:
            return self._model.trainable_state()
        if {self._peer} >= set(standing(closed).sound):
            raise CannotCatchUp(f"no other peer is in step after round {closed.round}")
        raise NoConsensus(f"this peer waits for the others' state after round {closed.round}")

    def state_dict(self) -> dict[str, Any]:
        ahead = None
        if self._ahead:
            number, result = self._ahead
            ahead = [
                number,
                result.loss,
                result.num_samples,
                result.num_nonfinite_steps,
                result.num_steps,
            ]
        return {
            "round": self._round,
            "giver": self._giver,
            "ahead": ahead,
            "course": self._course.state_dict(),
            "engine": self._engine.state_dict(with_gradient=ahead is not None),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._round, self._giver = state["round"], state["giver"]
        self._adopt(Course.of(self._settings, self._seed).restored(state["course"]))
        ahead = state["ahead"]
        self._ahead = ahead and (ahead[0], StepResult(*ahead[1:]))
        self._engine.load_state_dict(state["engine"])
