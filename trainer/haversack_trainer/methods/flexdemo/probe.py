"""The first rounds of ``scheme: Auto``: exchanges with and without bulk are timed, then everybody tells.

Who joins in the middle of it has nothing to tell. If nobody has, the rounds are made again.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any, Final

from .auto import Measured

_TOLD: Final = struct.Struct("<fff")
TOLD_BYTES: Final = _TOLD.size


class Part(Enum):
    """What a round of the probe is for."""

    BULK = "bulk"
    SMALL = "small"
    """Nothing is sent; the momentum keeps the gradient."""
    TELL = "tell"
    """What was measured goes with the payload, and all choose when the round has closed."""


PARTS: Final = (Part.BULK, Part.SMALL, Part.BULK, Part.SMALL, Part.BULK, Part.TELL)
"""The first one opens connections and warms kernels up; it is not counted."""


@dataclass
class Probe:
    """One peer's part in it."""

    first: int = 0
    """Round of ``PARTS[0]``."""
    steps: list[float] = field(default_factory=list)
    small: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)

    def part(self, round: int) -> Part | None:
        """None once the probe is over."""
        at = round - self.first
        return PARTS[at] if 0 <= at < len(PARTS) else None

    def saw(self, round: int, step_seconds: float, exchange_seconds: float) -> None:
        """Take down what a round took."""
        if round == self.first:
            return
        self.steps.append(step_seconds)
        match self.part(round):
            case Part.SMALL:
                self.small.append(exchange_seconds)
            case Part.BULK:
                self.bulk.append(exchange_seconds)

    def told(self) -> bytes | None:
        """Seconds of a step, of a small exchange and of one with bulk, as fp32."""
        if not (self.steps and self.small and self.bulk):
            return None
        return _TOLD.pack(median(self.steps), min(self.small), min(self.bulk))

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first, "steps": self.steps, "small": self.small, "bulk": self.bulk}


def heard(told: bytes, bulk_bytes: int) -> Measured | None:
    """Inverse of ``told``; None if it makes no sense."""
    step, small, bulk = _TOLD.unpack(told)
    if not all(math.isfinite(seconds) and seconds >= 0 for seconds in (step, small, bulk)):
        return None
    return Measured(step, small, bulk, bulk_bytes)
