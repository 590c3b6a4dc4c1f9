"""How the learning rate goes over a run: a function of round and step alone, so that a run that was stopped goes on alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SINE_TERMS: Final = 12
"""Up to a right angle, what comes after them is below 1e-16."""


class ScheduleKind(StrEnum):
    CONSTANT = "Constant"
    LINEAR = "Linear"
    COSINE = "Cosine"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of a run of so many rounds, however many steps a method makes in one."""

    kind: ScheduleKind = ScheduleKind.CONSTANT
    warm_up_percent: int = 0
    num_rounds: int = 1

    @property
    def is_steady(self) -> bool:
        """Whether the learning rate stays as it is set, however many rounds there are."""
        return self.kind is ScheduleKind.CONSTANT and not self.warm_up_percent

    def factor(self, round: int, step: int = 0, num_steps: int = 1) -> float:
        """What the learning rate is multiplied with in a step of a round of ``num_steps``, both counted from 0.

        It rises to 1 in even steps and falls, in a line or half a wave, to nearly 0 in the last step: more than 0 at
        all times, and the same bits on all machines.
        """
        total, made = self.num_rounds * num_steps, round * num_steps + step
        warm_up = total * self.warm_up_percent / 100
        if made + 1 < warm_up:
            return (made + 1) / warm_up
        left = min(1.0, (total - made) / (total - warm_up))
        match self.kind:
            case ScheduleKind.CONSTANT:
                return 1.0
            case ScheduleKind.LINEAR:
                return left
            case ScheduleKind.COSINE:
                return min(1.0, _sine(left * math.pi / 2) ** 2)


STEADY: Final = Schedule()
"""The learning rate stays as it is set."""


def _sine(angle: float) -> float:
    """Up to a right angle. By sums, products and quotients, since libraries' sines differ in the last bit."""
    square, series = angle * angle, 0.0
    for index in reversed(range(_SINE_TERMS)):
        series = series * square + (-1) ** index / math.factorial(2 * index + 1)
    return series * angle
