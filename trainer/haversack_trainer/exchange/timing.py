"""How long a round's exchange took, and how much of that its peer spent waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Timing:
    """Of the newest round that a peer published for. Work ahead hides what is not waited for.

    Another thread may say what arrived; everything else is the peer's own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.exchange_seconds = 0.0
        """From publishing to the arrival of the last that came for the round: slower peers count."""
        self.waited_seconds = 0.0
        """Of the peer's own thread, in calls of the exchange."""
        self._clock, self._began = clock, clock()
        self._is_open = False

    def begin(self) -> None:
        """The peer publishes."""
        self.exchange_seconds = self.waited_seconds = 0.0
        self._began, self._is_open = self._clock(), True

    def arrived(self) -> None:
        """A member's blob is here."""
        self.exchange_seconds = self._clock() - self._began

    def heard(self) -> None:
        """The log went on; it counts until the round is collected."""
        if self._is_open:
            self.arrived()

    def collected(self) -> None:
        """What the log says from now on is not of this round."""
        self._is_open = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The peer's thread is held up meanwhile."""
        began = self._clock()
        try:
            yield
        finally:
            self.waited_seconds += self._clock() - began
