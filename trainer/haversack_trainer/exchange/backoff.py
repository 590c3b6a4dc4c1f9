"""How long to wait before something is tried again."""

from __future__ import annotations

import time
from random import SystemRandom
from typing import Final

from .base import Stop, Stopped

_LOOK_SECONDS: Final = 0.2


class Backoff:
    """Waits that double up to 3 s, with full jitter so that 256 peers do not come back at once."""

    def __init__(self, first_seconds: float = 0.1, most_seconds: float = 3.0) -> None:
        self._first, self._most = first_seconds, most_seconds
        self._bound = first_seconds
        self._random = SystemRandom()

    def next_seconds(self) -> float:
        bound, self._bound = self._bound, min(self._most, 2 * self._bound)
        return self._random.uniform(0.2 * bound, bound)

    def reset(self) -> None:
        self._bound = self._first


def pause(seconds: float, stop: Stop) -> None:
    """Raises ``Stopped`` once the process is asked to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop():
            raise Stopped("asked to stop")
        time.sleep(min(left, _LOOK_SECONDS))
