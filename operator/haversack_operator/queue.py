"""Keys with due times: the one thing that decides when a job is looked at again.

Handlers and passes only say *when*; what is to be done is found out by looking. A key is never worked
on twice at once, any number of triggers make one pass, and an error is tried again with back-off.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays after errors: doubling, bounded, and spread by up to ``jitter`` of themselves."""

    first_seconds: float = 0.5
    most_seconds: float = 120.0
    jitter: float = 0.3

    def delay(self, num_errors: int, spread: float) -> float:
        """Seconds to wait after the ``num_errors``-th error in a row; ``spread`` is in [0, 1)."""
        base = min(self.first_seconds * 2.0 ** min(num_errors - 1, 30), self.most_seconds)
        return base * (1 + self.jitter * spread)


BACKOFF: Final = Backoff()


@dataclass
class DueQueue(Generic[K]):
    """What is due next. No tasks and no I/O, so that a test can move the clock."""

    clock: Clock
    _due: dict[K, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, K]] = field(default_factory=list)
    _sequence: int = 0
    _busy: set[K] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, delay: float = 0.0) -> None:
        """Ask for ``key`` in ``delay`` seconds, or earlier if somebody asked for that."""
        at = self.clock() + delay
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._sequence += 1
            heapq.heappush(self._heap, (at, self._sequence, key))

    def take(self) -> K | None:
        """A key that is due and that nobody works on; the caller owes a ``done``."""
        held: list[tuple[float, int, K]] = []
        found = None
        while found is None and self._heap and self._heap[0][0] <= self.clock():
            entry = heapq.heappop(self._heap)
            if self._due.get(entry[2]) != entry[0]:
                continue  # an earlier request took its place
            if entry[2] in self._busy:
                held.append(entry)
            else:
                found = entry[2]
        for entry in held:
            heapq.heappush(self._heap, entry)
        if found is not None:
            del self._due[found]
            self._busy.add(found)
        return found

    def done(self, key: K) -> None:
        """The pass over ``key`` is over; requests that came meanwhile are still there."""
        self._busy.discard(key)

    def seconds_to_next(self) -> float | None:
        """Time until some key that nobody works on is due; None if there is none."""
        idle = (at for at, _, key in self._heap if key not in self._busy)
        first = min(idle, default=None)
        return None if first is None else max(0.0, first - self.clock())


Pass = Callable[[K], Awaitable[float | None]]
"""One look at a key. Returns in how many seconds it wants the next one: None for the re-sync, infinity
for never."""


class Worker(Generic[K]):
    """Drains a queue with at most ``max_concurrent`` passes at a time."""

    def __init__(
        self,
        work: Pass[K],
        *,
        clock: Clock,
        max_concurrent: int = 8,
        resync_seconds: float = 600.0,
        backoff: Backoff = BACKOFF,
        expected: type[Exception] = TimeoutError,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.queue: DueQueue[K] = DueQueue(clock)
        self._work = work
        self._max_concurrent = max_concurrent
        self._resync_seconds = resync_seconds
        self._backoff = backoff
        self._expected = expected
        self._spread = spread
        self._errors: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def add(self, key: K, delay: float = 0.0) -> None:
        """Ask for a pass over ``key``."""
        self.queue.add(key, delay)
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; passes under way are then waited for."""
        try:
            while True:
                self._wake.clear()
                self._start_what_is_due()
                full = len(self._running) >= self._max_concurrent
                timeout = None if full else self.queue.seconds_to_next()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout)
        finally:
            if self._running:
                await asyncio.wait(self._running)

    def _start_what_is_due(self) -> None:
        while len(self._running) < self._max_concurrent:
            key = self.queue.take()
            if key is None:
                return
            task = asyncio.create_task(self._pass(key))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _pass(self, key: K) -> None:
        try:
            wanted = await self._work(key)
        except Exception as error:  # one job's error must not end the work on all others
            self._errors[key] = self._errors.get(key, 0) + 1
            delay = self._backoff.delay(self._errors[key], self._spread())
            told = None if isinstance(error, self._expected) else error
            log.warning("%s: %s; again in %.1f s", key, error, delay, exc_info=told)
            self.queue.add(key, delay)
        else:
            self._errors.pop(key, None)
            if wanted != math.inf:
                resync = self._resync_seconds * (1 + 0.2 * self._spread())
                self.queue.add(key, resync if wanted is None else min(wanted, resync))
        finally:
            self.queue.done(key)
