"""Settings of SPSA. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from haversack_trainer.contract.base import Check, Decimal
from haversack_trainer.contract.cards import MethodSettings
from haversack_trainer.contract.records import MAX_LATE_ROUNDS


class Weighting(StrEnum):
    MEAN = "Mean"
    SQRT = "Sqrt"
    SUM = "Sum"


class Settings(MethodSettings):
    """SPSA: two forward passes per random direction, one byte on the wire for each."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(
            "double(self.learningRate) > 0.0",
            lambda settings: float(settings.learning_rate) > 0,
            "learningRate: SPSA learns nothing at 0; write more than 0",
        ),
    )

    directions: int = Field(
        default=8, ge=1, le=256, description="Directions per peer and step (K); one byte each."
    )
    learning_rate: Decimal = Field(default="0.00005", description="Step size eta.")
    epsilon_log2: int = Field(
        default=7, ge=1, le=20, description="The perturbation is 2 to the power of minus this."
    )
    weighting: Weighting = Field(
        default=Weighting.MEAN,
        description="Weight of a direction: Mean 1/n, Sqrt 1/sqrt(n), Sum 1.",
    )
    scale_with_peers: bool = Field(
        default=True,
        description="Multiply the learning rate by min(n, 16), n = directions in the step.",
    )
    weight_decay: Decimal = Field(default="0", description="Decoupled weight decay.")
    clip_median: Decimal = Field(
        default="0",
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
