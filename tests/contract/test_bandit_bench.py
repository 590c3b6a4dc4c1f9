"""The simulated machines of the bandit bench are held to what their class can do, and classes come to other rates."""

from __future__ import annotations

from statistics import median

import pytest
from bench.bandit_classes import KINDS, LAWS, choices, fits
from bench.pages import result


@pytest.mark.parametrize("law", LAWS)
def test_no_class_goes_on_choosing_what_it_cannot_do(law: float) -> None:
    counts = choices(law, seed=3, num_rounds=25)
    by_name = {kind.name: kind for kind in KINDS}
    assert not fits(by_name["tight memory"], 12)
    assert min(counts["tight memory"]) >= 0.25, "nine layers of twelve fit"
    # A rate that takes too long is tried again where the window has forgotten how long others took.
    in_time = sum(count for rate, count in counts["slow"].items() if rate >= 0.4)
    assert in_time > 0.8 * counts["slow"].total()


def test_slow_machines_and_those_with_little_memory_come_to_different_rates() -> None:
    found = result("bandit_classes")["figures"]["laws"]["1.5"]
    rates = {name: median(kind["rate_by_seed"]) for name, kind in found.items()}
    assert rates["quick"] < rates["tight memory"] < rates["slow"]
    assert all(len(kind["rate_by_seed"]) >= 5 for kind in found.values())
