"""How long, and how, a store that is busy or away for a moment is waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

_FIRST_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Exponential waits with jitter, so that peers do not come back in step, until ``seconds`` are used up."""

    seconds: float = 120.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def start(self) -> Callable[[], bool]:
        """A function that waits before the next attempt, or returns False when there is to be none."""
        end, bound = self.clock() + self.seconds, _FIRST_SECONDS

        def wait() -> bool:
            nonlocal bound
            left = end - self.clock()
            if left <= 0:
                return False
            self.sleep(min(left, bound * (0.1 + 0.9 * self.random())))
            bound = min(2 * bound, _LONGEST_SECONDS)
            return True

        return wait

    def capped(self, seconds: float) -> Patience:
        """The same, but no longer than ``seconds``."""
        return replace(self, seconds=min(seconds, self.seconds))
