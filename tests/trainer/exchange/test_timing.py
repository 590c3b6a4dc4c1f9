"""What counts as exchange and what as waiting."""

from __future__ import annotations

from dataclasses import dataclass

from haversack_trainer.exchange.timing import Timing


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_exchange_lasts_from_publishing_to_the_last_arrival() -> None:
    clock = Clock()
    timing = Timing(clock)
    timing.begin()
    clock.now += 5  # Work ahead.
    timing.heard()
    with timing.waiting():
        clock.now += 1
        timing.heard()
    assert (timing.exchange_seconds, timing.waited_seconds) == (6, 1)
    timing.collected()
    clock.now += 1
    timing.heard()
    assert timing.exchange_seconds == 6
    timing.arrived()
    assert timing.exchange_seconds == 7


def test_each_round_is_timed_by_itself() -> None:
    clock = Clock()
    timing = Timing(clock)
    timing.begin()
    with timing.waiting():
        clock.now += 1
        timing.arrived()
    timing.begin()
    assert (timing.exchange_seconds, timing.waited_seconds) == (0, 0)
    clock.now += 2
    timing.arrived()
    assert timing.exchange_seconds == 2
