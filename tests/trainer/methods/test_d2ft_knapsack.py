"""One device's knapsack: properties 6 to 8 of the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from d2ft_tables import best_of_all, rhos, values
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.methods.d2ft.cost import FORWARD, FULL, SKIP, Costs, Infeasible, Ops
from haversack_trainer.methods.d2ft.knapsack import Values, exact, pick, slots, two_stage

QUICK = settings(max_examples=60, deadline=None)


def worth(ops: Ops, full: Values, forward: Values) -> float:
    return float(np.choose(ops, (np.zeros_like(full), forward, full)).sum())


def spent(ops: Ops, costs: Costs) -> int:
    return int(costs.loads(ops[None])[0])


@st.composite
def devices(draw: st.DrawFn) -> dict[str, Any]:
    """``exact``'s arguments, up to 5 items."""
    count = draw(st.integers(1, 5))
    costs = Costs.of(draw(rhos))
    least = draw(
        st.lists(st.sampled_from([SKIP, SKIP, FORWARD, FULL]), min_size=count, max_size=count)
    )
    forward, more = draw(values(count)), draw(values(count))
    return {
        "full": forward + more,
        "forward": forward,
        "costs": costs,
        "capacity": draw(st.integers(0, count * costs.full)),
        "least": np.array(least, np.int8),
    }


@QUICK
@given(devices())
def test_the_exact_solver_is_as_good_as_trying_everything(device: dict[str, Any]) -> None:
    best = best_of_all(**device)
    if best == -np.inf:
        with pytest.raises(Infeasible, match="budget"):
            exact(**device)
        return
    ops = exact(**device)
    assert worth(ops, device["full"], device["forward"]) == pytest.approx(best)
    assert spent(ops, device["costs"]) <= device["capacity"]
    assert (ops >= device["least"]).all()


@QUICK
@given(devices(), st.floats(0, 1))
def test_two_stages_keep_to_the_capacity_and_are_no_better(
    device: dict[str, Any], share: float
) -> None:
    backward = device["full"] - device["forward"]
    arguments = device["costs"], device["capacity"], device["least"]
    if best_of_all(**device) == -np.inf:
        with pytest.raises(Infeasible, match="budget"):
            two_stage(backward, device["forward"], *arguments, share=share)
        return
    ops = two_stage(backward, device["forward"], *arguments, share=share)
    assert spent(ops, device["costs"]) <= device["capacity"]
    assert (ops >= device["least"]).all()
    best = worth(exact(**device), device["full"], device["forward"])
    assert worth(ops, device["full"], device["forward"]) <= best + 1e-9


@QUICK
@given(devices())
def test_more_capacity_is_never_worth_less(device: dict[str, Any]) -> None:
    free = device | {"least": np.zeros_like(device["least"])}
    more = free | {"capacity": free["capacity"] + 1}
    before, after = exact(**free), exact(**more)
    assert worth(after, free["full"], free["forward"]) >= worth(
        before, free["full"], free["forward"]
    )


@given(rhos, st.integers(1, 8))
def test_all_capacity_runs_everything_and_none_runs_nothing(rho: float, count: int) -> None:
    costs, none = Costs.of(rho), np.zeros(count, np.int8)
    ones = np.ones(count)
    assert (exact(2 * ones, ones, costs, count * costs.full, none) == FULL).all()
    assert (two_stage(ones, ones, costs, count * costs.full, none, share=1.0) == FULL).all()
    assert (exact(2 * ones, ones, costs, 0, none) == SKIP).all()
    assert (two_stage(ones, ones, costs, 0, none, share=1.0) == SKIP).all()


@QUICK
@given(values(8), st.integers(0, 8))
def test_where_forward_is_worth_nothing_the_best_run_in_full(scores: Values, num_full: int) -> None:
    costs = Costs.of(0.5)
    ops = exact(scores, np.zeros(8), costs, num_full * costs.full, np.zeros(8, np.int8))
    assert scores[ops == FULL].sum() == np.sort(scores)[8 - num_full :].sum()


def test_the_stages_are_those_of_the_paper() -> None:
    """First by backward scores within the share, then by forward scores with what is left."""
    costs = Costs.of(0.5)
    backward, forward = np.array([5.0, 4, 3, 2, 1]), np.array([0.0, 1, 2, 3, 4])
    ops = two_stage(backward, forward, costs, 3 * costs.full, np.zeros(5, np.int8), share=0.7)
    assert ops.tolist() == [FULL, FULL, SKIP, FORWARD, FORWARD]


@QUICK
@given(values(6), st.lists(st.integers(1, 9), min_size=6, max_size=6), st.integers(0, 30))
def test_picking_is_as_good_as_trying_everything(
    scores: Values, costs: list[int], capacity: int
) -> None:
    prices = np.array(costs)
    masks = (np.arange(64)[:, None] >> np.arange(6)) & 1
    best = max(float(mask @ scores) for mask in masks if mask @ prices <= capacity)
    chosen = pick(scores, prices, capacity)
    assert float(scores[chosen].sum()) == best
    assert prices[chosen].sum() <= capacity


def test_slots_take_the_best_for_full_and_of_the_rest_the_best_for_forward_only() -> None:
    full, forward = np.array([1.0, 5, 4, 2, 3]), np.array([9.0, 1, 1, 8, 7])
    none = np.zeros(5, np.int8)
    assert slots(full, forward, 2, 1, none).tolist() == [FORWARD, FULL, FULL, SKIP, SKIP]
    must = np.array([FULL, SKIP, SKIP, SKIP, SKIP], np.int8)
    assert slots(full, forward, 2, 1, must).tolist() == [FULL, FULL, SKIP, FORWARD, SKIP]
    with pytest.raises(Infeasible, match=r"slots\.full: too few"):
        slots(full, forward, 0, 1, must)
