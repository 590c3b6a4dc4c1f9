from __future__ import annotations

import time

import pytest

from haversack_trainer.exchange.backoff import Backoff, pause
from haversack_trainer.exchange.base import Stopped


def test_waits_double_to_a_limit_with_jitter_and_begin_anew() -> None:
    backoff = Backoff(first_seconds=1.0, most_seconds=5.0)
    for bound in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert 0.2 * bound <= backoff.next_seconds() <= bound
    backoff.reset()
    assert backoff.next_seconds() <= 1.0


def test_a_pause_lasts_and_ends_at_once_when_asked_to_stop() -> None:
    began = time.monotonic()
    pause(0.05, lambda: False)
    assert time.monotonic() - began >= 0.05
    with pytest.raises(Stopped):
        pause(3600.0, lambda: True)
