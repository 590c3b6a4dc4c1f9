"""Time to equal loss: each scheme at a learning rate that was searched for, and what was not reached is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bench.wan_schemes import LADDER, REFERENCE, SCHEMES, best, due, for_all, rows, target_of
from bench.wan_tasks import PLANS
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.cards import METHODS


def searched(loss_at: Callable[[str], float], first: str) -> dict[str, float]:
    """What the search tries, with its losses."""
    tried = {first: loss_at(first)}
    while rates := due(tried):
        tried |= {rate: loss_at(rate) for rate in rates}
    return tried


@given(st.sampled_from(LADDER), st.sampled_from(LADDER))
def test_a_search_goes_on_until_both_neighbours_of_the_best_are_worse(
    first: str, best: str
) -> None:
    def loss_at(rate: str) -> float:
        away = LADDER.index(rate) - LADDER.index(best)
        return math.nan if away > 1 else abs(away)  # Beyond the best one it soon diverges.

    tried = searched(loss_at, first)
    place = LADDER.index(best)
    assert tried.keys() >= set(LADDER[max(0, place - 1) : place + 2])


def curve(rate: str, *losses: float) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "losses": [[10 * (n + 1), loss] for n, loss in enumerate(losses)],
        "accuracies": [[10 * (n + 1), 0.5] for n in range(len(losses))],
        "bytes_sent_a_step": 7,
    }


def test_the_loss_to_come_to_is_that_of_the_reference_at_its_best_rate() -> None:
    tried = [curve("1", 9, 8, 7, 6, 5), curve("2", 9, 8, 7, 4, 3)]
    assert target_of(tried) == 4
    assert target_of([curve("3", 9, 9, 9, 9, math.nan), *tried]) == 4


def test_a_scheme_is_taken_at_the_rate_that_ends_lowest() -> None:
    early_then_worse, late = curve("1", 9, 3, 5), curve("2", 9, 8, 4)
    diverged = curve("3", 2, 2, math.nan)
    assert best([diverged, early_then_worse, late]) is late
    assert best([diverged]) is diverged


def test_rows_tell_what_was_not_reached() -> None:
    curves = {name: [curve("1", 9, 8, 7, 6, 5)] for name in SCHEMES}
    curves["DiLoCo"] = [curve("1", 9, 9, 9, 9, 9)]
    seconds = {
        name: {"seconds_a_step": {"median": 2.0}, "compute_seconds_a_step": {"median": 1.0}}
        for name in SCHEMES
        if name not in {"DiLoCo", "full-sync sign-momentum"}
    }
    timed = for_all(seconds)
    assert timed["full-sync sign-momentum"]["seconds_a_step"]["median"] == 2.0
    assert timed["DiLoCo"]["seconds_a_step"]["median"] == 1.05, "it sends as much once in 20 steps"
    found = {row["scheme"]: row for row in rows(curves, {"line": timed})}
    assert found[REFERENCE]["seconds_to_target"] == {"line": 80.0}
    assert found["DiLoCo"]["steps_to_target"] is None
    assert found["DiLoCo"]["seconds_to_target"] == {"line": None}


def test_settings_hold() -> None:
    for settings in SCHEMES.values():
        for plan in PLANS.values():
            assert plan.first_rate in LADDER
            chosen = {**settings, "learningRate": plan.first_rate}
            METHODS["FlexDeMo"].load_settings().model_validate(chosen)
