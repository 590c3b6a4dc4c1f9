"""``spec.training``: what every method needs."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from .base import Frozen
from .schedule import Schedule, ScheduleKind

MAX_ROUNDS: Final = 1_000_000


class TrainingSpec(Frozen):
    """What every method needs. A method's own knobs are in its union member."""

    rounds: int = Field(
        default=20,
        ge=1,
        le=MAX_ROUNDS,
        description="Number of rounds of the run. With method.type Auto: of ten optimizer steps each; a method whose "
        "rounds are shorter or longer makes more or fewer, and so with all periods in rounds.",
    )
    batch_size: int = Field(
        default=32, ge=1, le=65_536, description="Samples per optimizer step and peer."
    )
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="Most samples in one forward pass; placement may choose fewer. Default: batchSize.",
    )
    seed: int = Field(
        default=17,
        ge=0,
        le=2**31 - 1,
        description="Seeds split, initial adapter, order and directions.",
    )
    round_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="A round closes this long after its first payload, without those who have not published; "
        "they stay members and go on with the next. Default: a round waits for all members.",
    )
    learning_rate_schedule: ScheduleKind = Field(
        default=ScheduleKind.CONSTANT,
        description="How the method's learningRate goes over the rounds. Constant: it stays. Linear and Cosine: it falls to "
        "nearly 0 in the last one.",
    )
    warm_up_percent: int = Field(
        default=0,
        ge=0,
        le=50,
        description="Share of the run in which the learning rate rises, step by step, to what the method's settings say.",
    )

    @property
    def schedule(self) -> Schedule:
        """Of the learning rate."""
        return Schedule(self.learning_rate_schedule, self.warm_up_percent, self.rounds)
