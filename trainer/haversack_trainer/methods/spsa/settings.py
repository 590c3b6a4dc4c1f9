"""Settings of SPSA. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import LEARNS, Check, Decimal
from haversack_trainer.contract.cards import MemoryModel, MethodSettings
from haversack_trainer.contract.privacy import PRIVACY_CHECKS, Privacy
from haversack_trainer.contract.records import MAX_LATE_ROUNDS
from haversack_trainer.contract.weights import FLOAT_BYTES

RANK: Final = 8
REFRESH_ROUNDS: Final = 1000
LOCAL_STEPS: Final = 1
LOCAL_LEARNING_RATE: Final = "0.01"
LEAST_FOR_SPREAD: Final = 2
"""Scalars, to have a standard deviation."""
SIGNS_IN_A_PASS: Final = 2
"""Points of one direction, theta + eps·z and theta - eps·z: they always share a batch."""


class Weighting(StrEnum):
    MEAN = "Mean"
    SQRT = "Sqrt"
    SUM = "Sum"


class Differences(StrEnum):
    TWO_SIDED = "TwoSided"
    ONE_SIDED = "OneSided"


class Estimate(StrEnum):
    DIFFERENCES = "Differences"
    PROJECTION = "Projection"


class Distribution(StrEnum):
    RADEMACHER = "Rademacher"
    GAUSSIAN = "Gaussian"
    LOW_RANK = "LowRank"


class Code(StrEnum):
    BYTE = "Byte"
    STOCHASTIC_BYTE = "StochasticByte"
    SIGN = "Sign"


class Sharding(StrEnum):
    NONE = "None"
    ZERO3 = "ZeRO3"


class SlopePrivacy(Privacy):
    """Differential privacy of one record against what its peer publishes."""

    clip: Decimal = Field(
        default="1",
        description="A sample's slope along a direction is cut to this magnitude; more than 0.",
    )


class Settings(MethodSettings):
    """SPSA: two forward passes per random direction, one byte on the wire for each."""

    checks: ClassVar[tuple[Check, ...]] = (
        LEARNS,
        Check(
            "double(self.momentum) < 1.0",
            lambda settings: float(settings.momentum) < 1,
            "momentum: must be less than 1, or the step never ends",
        ),
        Check(
            "(!has(self.localSteps) && !has(self.localLearningRate)) || self.estimator == 'Projection'",
            lambda settings: (
                (settings.local_steps is None and settings.local_learning_rate is None)
                or settings.estimator is Estimate.PROJECTION
            ),
            "localSteps and localLearningRate: go with estimator Projection; remove them or change it",
        ),
        Check(
            "!has(self.localLearningRate) || double(self.localLearningRate) > 0.0",
            lambda settings: (
                settings.local_learning_rate is None or float(settings.local_learning_rate) > 0
            ),
            "localLearningRate: must be more than 0, or nothing moves that could be projected",
        ),
        Check(
            "self.estimator == 'Differences' || (self.differences == 'TwoSided' && "
            "self.pointsPerPass == 1 && !self.sharedBatch && !has(self.privacy))",
            lambda settings: (
                settings.estimator is Estimate.DIFFERENCES
                or (
                    settings.differences is Differences.TWO_SIDED
                    and settings.points_per_pass == 1
                    and not settings.shared_batch
                    and settings.privacy is None
                )
            ),
            "estimator: Projection measures no differences; remove differences, pointsPerPass, sharedBatch "
            "and privacy",
        ),
        Check(
            "self.estimator == 'Differences' || self.sharding == 'None'",
            lambda settings: (
                settings.estimator is Estimate.DIFFERENCES or settings.sharding is Sharding.NONE
            ),
            "sharding: Projection takes a backward pass, for which nothing is shared out; write None, or "
            "estimator Differences",
        ),
        Check(
            "(!has(self.rank) && !has(self.refreshRounds)) || self.distribution == 'LowRank'",
            lambda settings: (
                (settings.rank is None and settings.refresh_rounds is None)
                or settings.distribution is Distribution.LOW_RANK
            ),
            "rank and refreshRounds: go with distribution LowRank; remove them or change the distribution",
        ),
        Check(
            "self.differences == 'TwoSided' || self.sharedBatch",
            lambda settings: settings.differences is Differences.TWO_SIDED or settings.shared_batch,
            "differences: OneSided compares all directions with one loss; set sharedBatch to true",
        ),
        Check(
            f"self.pointsPerPass <= {SIGNS_IN_A_PASS} || self.sharedBatch",
            lambda settings: settings.points_per_pass <= SIGNS_IN_A_PASS or settings.shared_batch,
            "pointsPerPass: a pass has one batch; set sharedBatch to true or write 1 or 2",
        ),
        Check(
            f"!self.normalise || self.directions >= {LEAST_FOR_SPREAD}",
            lambda settings: not settings.normalise or settings.directions >= LEAST_FOR_SPREAD,
            "normalise: one direction has no standard deviation; set directions to 2 or more",
        ),
        Check(
            "!self.normalise || self.code != 'Sign'",
            lambda settings: not settings.normalise or settings.code is not Code.SIGN,
            "normalise: Sign sends no sizes, and where all signs agree there would be no step; remove it, or "
            "change the code",
        ),
        *PRIVACY_CHECKS,
    )

    directions: int = Field(
        default=8, ge=1, le=256, description="Directions per peer and step (K); one byte each."
    )
    learning_rate: Decimal = Field(default="0.00005", description="Step size eta.")
    epsilon_log2: int = Field(
        default=7, ge=1, le=20, description="The perturbation is 2 to the power of minus this."
    )
    sharding: Sharding = Field(
        default=Sharding.NONE,
        description="How the processes of a peer share its model out, one per accelerator (or pools[].processes): "
        "with ZeRO3 each holds a part of the frozen weights, and measures a part of each batch at all points. "
        "None: one process.",
    )
    distribution: Distribution = Field(
        default=Distribution.RADEMACHER,
        description="Of a direction: Rademacher is -1 or +1; Gaussian is MeZO's, and slower; LowRank keeps each "
        "matrix in a subspace for a while.",
    )
    rank: int | None = Field(
        default=None, ge=1, le=64, description=f"LowRank only: of each matrix. Default {RANK}."
    )
    refresh_rounds: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description=f"LowRank only: rounds in the same subspace. Default {REFRESH_ROUNDS}.",
    )
    estimator: Estimate = Field(
        default=Estimate.DIFFERENCES,
        description="Of slopes along the directions: Differences of losses, or Projection of what local gradient "
        "steps moved, with a backward pass.",
    )
    local_steps: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=f"Projection only: gradient steps in a round. Default {LOCAL_STEPS}.",
    )
    local_learning_rate: Decimal | None = Field(
        default=None,
        description=f"Projection only: of those steps; more than 0. Default {LOCAL_LEARNING_RATE}.",
    )
    differences: Differences = Field(
        default=Differences.TWO_SIDED,
        description="TwoSided compares losses on both sides, OneSided each with the loss in the middle.",
    )
    shared_batch: bool = Field(
        default=False, description="All directions of a step on one batch, not each on its own."
    )
    points_per_pass: int = Field(
        default=1,
        ge=1,
        le=512,
        description="Points whose losses are measured in one forward pass, on copies of the batch.",
    )
    normalise: bool = Field(
        default=False,
        description="Divide the scalars by the round's standard deviation, as FZOO does.",
    )
    weighting: Weighting = Field(
        default=Weighting.MEAN,
        description="Weight of a direction: Mean 1/n, Sqrt 1/sqrt(n), Sum 1.",
    )
    scale_with_peers: bool = Field(
        default=True,
        description="Multiply the learning rate by min(n, 16), n = directions in the step.",
    )
    momentum: Decimal = Field(
        default="0", description="Share of the last step that is repeated; 0 turns it off."
    )
    weight_decay: Decimal = Field(default="0", description="Decoupled weight decay.")
    code: Code = Field(
        default=Code.BYTE,
        description="Of a scalar: Byte rounds, StochasticByte at random, Sign is one bit.",
    )
    clip_median: Decimal = Field(
        default="10",
        description="Clip scalars to this multiple of the round's median magnitude; 0 turns it off.",
    )
    late_rounds: int = Field(
        default=1,
        ge=0,
        le=MAX_LATE_ROUNDS,
        description="Scalars that missed their round's deadline are applied along their own round's "
        "directions if they are at most this many rounds late, and count among the step's directions as "
        "any other; 0 drops them.",
    )
    privacy: SlopePrivacy | None = Field(
        default=None,
        description="Clip and noise, so that the log tells little of any one record. Off if absent.",
    )

    def memory(self, usual: MemoryModel) -> MemoryModel:
        """A projection needs what gradients need; many points in a pass are so many batches."""
        if self.estimator is Estimate.PROJECTION:
            return replace(usual, bytes_per_trainable=24, activation_factor=28, score_copies=4)
        if self.points_per_pass == 1:
            return usual
        each = usual.bytes_per_trainable + FLOAT_BYTES * self.points_per_pass
        return replace(usual, bytes_per_trainable=each, batches_in_a_pass=self.points_per_pass)

    def fault(self, _num_peers: int) -> str | None:
        # Not at the top: NumPy is too heavy for commands that only look.
        from haversack_trainer.privacy.account import fault

        return fault(self.privacy)
