"""SPSA with shared randomness: a peer sends one byte for each direction that it tried.

After "Just one byte (per gradient)" (Zelikman et al., arXiv 2306.10015) and MeZO (Malladi et al., arXiv
2305.17333). For a direction z that everybody can make from (run seed, step, peer, direction) a peer measures

    g = (L(theta + eps·z) - L(theta - eps·z)) / (2·eps)

on its own data and publishes g. All apply theta <- theta - eta·w·sum of g·z in the same order. The state is
a pure function of the initial one and the log: joining is replaying, and the replicas are equal bit by bit.
The run seed is ``training.seed``, so that a run can be repeated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any, Final

from torch import Tensor

from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Batches, Fetch, StepResult, Trainee
from haversack_trainer.privacy.account import Budget, Use
from haversack_trainer.sharding import InParts

from . import codec
from .checks import require_repeatable, require_sound, takes_points
from .estimate import Estimator
from .privacy import protected
from .projection import Projector
from .replica import Replica
from .settings import Code, Estimate, Settings
from .share import Share
from .words import WORD_BITS, key

ROUNDING_SALT: Final = 0x3C6EF372
"""Tells the numbers that round a scalar from the direction of the same identifier."""


class Spsa:
    """One round is one step: K directions, no backward pass."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: Trainee,
        batches: Batches,
        *,
        schedule: Schedule = STEADY,
        shards: InParts | None = None,
    ) -> None:
        """``shards``: the pod's processes, each of which measures its own samples at all points."""
        self._settings, self._peer, self._seed = settings, peer, seed
        self._model = model
        model.train(mode=False)
        require_sound(model)
        micro_batches = batches.micro_batches(0)
        first = micro_batches[0]
        share = Share(None if shards is None else shards.world)
        self._batch_size = share.total(sum(micro.num_samples for micro in micro_batches))
        require_repeatable(model, first)
        if settings.points_per_pass > 1 and not share.all_agree(takes_points(model, first)):
            settings = settings.model_copy(update={"points_per_pass": 1})
        self._replica = Replica(settings, seed, model, schedule)
        vector, directions = self._replica.vector, self._replica.directions
        common = settings, peer, seed, model, batches, vector, directions
        self._estimator = (
            Projector(*common)
            if settings.estimator is Estimate.PROJECTION
            else Estimator(*common, share)
        )
        self._batches, self._noise = batches, random.SystemRandom()
        self._measured: list[float] = []
        self._budget = Budget(settings.privacy) if settings.privacy else None
        self._spent: dict[str, float] = {}
        self._round = 0

    def local_step(self, round: int) -> StepResult:
        self._measured, self._round = [], round
        if self._budget and not self._budget.affords(self._uses(round + 1)):
            return StepResult(
                loss=math.nan, num_samples=0, ending=self._budget.ending(self._uses(round + 1))
            )
        losses: list[float] = []
        num_samples = 0
        for measured in self._estimator.measure(round):
            self._measured += self._published(measured.slopes)
            losses += measured.losses.tolist()
            num_samples += measured.num_samples
        if self._budget:
            # A loss is a word about the records as well.
            self._spent = {"epsilon": self._budget.epsilon(self._uses(round + 1))}
            return StepResult(
                loss=math.nan,
                num_samples=num_samples,
                num_steps=1,
                metrics=self._spent,
                ending=self._budget.ending(self._uses(round + 2)),
            )
        finite = [loss for loss in losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(finite) / len(finite) if finite else math.nan,
            num_samples=num_samples,
            num_nonfinite_steps=len(losses) - len(finite),
            num_steps=1,
        )

    def _published(self, slopes: Tensor) -> list[float]:
        if (privacy := self._settings.privacy) is not None:
            return protected(slopes, privacy, self._noise)
        found: list[float] = slopes.mean(1).tolist()
        return found

    def _uses(self, rounds: int) -> int:
        """Of the most-used record, in so many rounds."""
        count, shared = self._settings.directions, self._settings.shared_batch
        batches, scalars = (1, count) if shared else (count, 1)
        use = Use(self._batches.num_records, self._batch_size, scalars)
        return use.after(rounds * batches)

    def outgoing(self) -> Outgoing:
        if not any(map(math.isfinite, self._measured)):
            return Outgoing()
        if self._settings.code is Code.SIGN:
            return Outgoing(body=codec.encode_signs(self._measured))
        exponent, codes = codec.encode(self._measured, self._chances())
        return Outgoing(body=codes, aux=exponent)

    def _chances(self) -> list[float] | None:
        """What rounds this round's scalars at random: anybody can make it again, nobody can choose it."""
        if self._settings.code is not Code.STOCHASTIC_BYTE:
            return None
        fields = (self._round, self._peer)
        return [
            key(self._seed, *fields, index, ROUNDING_SALT) / 2**WORD_BITS
            for index in range(len(self._measured))
        ]

    def ahead(self, round: int) -> None:
        """Nothing: the next step starts from what the open round gives."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        return {"directions": float(self._replica.apply([swap.closed])), **self._spent}

    def catch_up(self, history: Iterable[ClosedRound], _fetch: Fetch) -> None:
        self._replica.replay(history)

    def consensus(self, _closed: ClosedRound, _fetch: Fetch) -> dict[str, Tensor]:
        """Everybody's state is the consensus."""
        return self._model.trainable_state()

    def state_dict(self) -> dict[str, Any]:
        return self._replica.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._replica.load_state_dict(state)
