"""Tables over devices: properties 5, 8, 9 and 13 of the specification."""

from __future__ import annotations

import numpy as np
import pytest
from d2ft_tables import RHOS, a_planner, a_site, drawn, flat, idle, rhos
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.methods.d2ft.cost import (
    FORWARD,
    FULL,
    SKIP,
    Infeasible,
    Shares,
    inverse_shares,
)
from haversack_trainer.methods.d2ft.kinds import Solver, Ties
from haversack_trainer.methods.d2ft.needs import Needs
from haversack_trainer.methods.d2ft.planner import Planner, Worth, idle_after
from haversack_trainer.methods.d2ft.site import capacities, place

QUICK = settings(max_examples=40, deadline=None)
SOLVERS = (Solver.EXACT, Solver.TWO_STAGE)


@QUICK
@given(
    st.integers(0, 999),
    rhos,
    st.floats(0.2, 1),
    st.sampled_from([None, (1,), (2, 1), (3, 2, 1)]),
    st.sampled_from(SOLVERS),
)
def test_no_device_does_more_than_it_may(
    seed: int, rho: float, budget: float, speeds: tuple[int, ...] | None, solver: Solver
) -> None:
    site = a_site(2, 3, 4, budget=budget, rho=rho, speeds=speeds)
    ops = a_planner(site, solver=solver).table(drawn(site, seed), idle(site), seed)
    assert (site.loads(ops) <= site.capacities).all()
    assert Shares.of(ops).compute(site.costs.rho) <= budget + 1e-9


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rho", RHOS)
def test_equal_devices_with_equal_scores_are_equally_loaded(solver: Solver, rho: float) -> None:
    site = a_site(3, 4, 5, rho=rho)
    ops = a_planner(site, solver=solver).table(flat(site), idle(site), 0)
    assert site.imbalance(ops) == 0
    assert len(set(site.loads(ops).tolist())) == 1


def test_unequal_devices_end_together() -> None:
    site = a_site(4, 6, 5, rho=0.5, speeds=(3, 2, 1))
    ops = a_planner(site).table(flat(site), idle(site), 0)
    assert site.loads(ops)[0] == pytest.approx(3 * site.loads(ops)[2], rel=0.05)
    assert site.imbalance(ops) < 0.05


NEEDS = st.builds(
    Needs,
    st.integers(0, 2),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([frozenset[int](), frozenset({0}), frozenset({0, 2})]),
)


@QUICK
@given(
    st.integers(0, 999),
    NEEDS,
    st.sampled_from([None, (1,), (2, 1)]),
    st.sampled_from(SOLVERS),
    st.floats(0.1, 1),
)
def test_what_must_run_runs_or_it_is_said_what_to_change(
    seed: int, needs: Needs, speeds: tuple[int, ...] | None, solver: Solver, budget: float
) -> None:
    site = a_site(3, 3, 4, budget=budget, speeds=speeds)
    planner, said = a_planner(site, needs, solver), ""
    try:
        planner.check()
    except Infeasible as error:
        said = str(error)
    if said:
        assert said.startswith(("budget:", "protect:"))
        return
    waited = idle(site)
    for step in range(7):
        ops = planner.table(drawn(site, seed + step), waited, step)
        assert (site.loads(ops) <= site.capacities).all()
        full = (ops == FULL).reshape(3, 3, 4)
        assert (full.sum(axis=1) >= needs.min_active).all()
        assert all((ops[3 * layer : 3 * layer + 3] != SKIP).all() for layer in needs.protected)
        waited = idle_after(waited, ops)
        assert not needs.max_idle_steps or waited.max() < needs.max_idle_steps


def test_nobody_starves_that_no_score_speaks_for() -> None:
    """Whole budgets go to the best subnet; the others have their turns only because they must."""
    site = a_site(1, 6, 2, budget=0.5, speeds=(1,))
    worth = drawn(site, 0)
    worth.backward[0] += 1000
    for bound, worst in ((0, 20), (4, 3)):
        planner, waited, longest = a_planner(site, Needs(0, bound)), idle(site), 0
        for step in range(20):
            waited = idle_after(waited, planner.table(worth, waited, step))
            longest = max(longest, int(waited.max()))
        assert longest == worst


def test_too_small_a_budget_is_refused_by_name() -> None:
    site = a_site(2, 2, 5, budget=0.1)
    with pytest.raises(Infeasible, match="budget: has no room for minActive"):
        a_planner(site, Needs(min_active=1)).check()
    with pytest.raises(Infeasible, match="protect: the budget has no room"):
        a_planner(site, Needs(protected=frozenset({1}))).check()
    with pytest.raises(Infeasible, match="minActive: a layer has 2 groups"):
        a_planner(a_site(2, 2, 5), Needs(min_active=3)).check()


def test_with_the_whole_budget_all_run_in_full() -> None:
    for speeds in (None, (1,), (5, 1)):
        site = a_site(2, 3, 4, budget=1, speeds=speeds)
        assert (a_planner(site).table(drawn(site, 1), idle(site), 0) == FULL).all()


@pytest.mark.parametrize("solver", [Solver.SLOTS, Solver.EXACT, Solver.TWO_STAGE])
def test_rotating_ties_train_on_all_micro_batches_alike(solver: Solver) -> None:
    """K=72, N=5, three in full: 42 to 44 for each micro-batch. By index the last ones get nothing."""
    site = a_site(12, 6, 5, budget=0.6, rho=0.5)
    per_micro = {}
    for ties in Ties:
        planner = Planner(site, Needs(), solver, ties, slots=(3, 0), full_share=1.0)
        worth = flat(site)._replace(forward=np.zeros((72, 5)))
        ops = planner.table(worth, idle(site), 0)
        assert (ops == FULL).sum() == 3 * 72
        per_micro[ties] = sorted((ops == FULL).sum(axis=0).tolist())
    assert 42 <= per_micro[Ties.ROTATE][0] <= per_micro[Ties.ROTATE][-1] <= 44
    assert per_micro[Ties.INDEX] == [0, 0, 72, 72, 72]


@given(st.sampled_from(list(Solver)), st.integers(0, 2**31), st.integers(0, 20))
def test_the_last_bits_of_a_score_decide_nothing(solver: Solver, seed: int, step: int) -> None:
    """So that a sum over columns and a sum over processes come to the same table."""
    site = a_site(2, 3, 5, budget=0.6, rho=1 / 3)
    planner = Planner(site, Needs(), solver, Ties.ROTATE, slots=(2, 1), full_share=0.8)
    even = np.full((6, 5), 0.1)
    noise = np.random.default_rng(seed).uniform(-1e-13, 1e-13, (2, 6, 5))
    table = planner.table(Worth(even, even), idle(site), step)
    blurred = planner.table(Worth(even + noise[0], even + noise[1]), idle(site), step)
    assert np.array_equal(table, blurred)


def test_the_turns_move_on_from_step_to_step() -> None:
    site = a_site(1, 1, 5, budget=0.2)
    planner = a_planner(site)
    worth = flat(site)._replace(forward=np.zeros((1, 5)))
    chosen = {int(planner.table(worth, idle(site), step).argmax()) for step in range(5)}
    assert chosen == set(range(5))


@pytest.mark.parametrize(
    ("slots", "rho", "compute", "traffic"),
    [
        ((5, 0), 1 / 3, 1.00, 1.00),
        ((3, 1), 1 / 3, 0.67, 0.70),
        ((3, 0), 1 / 2, 0.60, 0.60),
        ((2, 2), 0.4, 0.56, 0.60),
        ((2, 1), 1 / 2, 0.50, 0.50),
        ((1, 3), 1 / 3, 0.40, 0.50),
    ],
)
def test_what_slots_cost_is_what_the_specification_counts(
    slots: tuple[int, int], rho: float, compute: float, traffic: float
) -> None:
    site = a_site(2, 3, 5, rho=rho)
    planner = Planner(site, Needs(), Solver.SLOTS, Ties.ROTATE, slots=slots)
    shares = Shares.of(planner.table(drawn(site, 0), idle(site), 0))
    assert shares.full == pytest.approx(slots[0] / 5)
    assert shares.forward == pytest.approx(slots[1] / 5)
    assert round(shares.compute(site.costs.rho), 2) == compute
    assert round(shares.traffic, 2) == traffic


@QUICK
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_no_move_and_no_swap_makes_the_slowest_device_sooner(
    weights: list[int], speeds: list[int]
) -> None:
    where = place(weights, speeds)
    seconds = np.bincount(where, weights, len(speeds)) / speeds

    def longest(moved: list[int]) -> float:
        return float((np.bincount(moved, weights, len(speeds)) / speeds).max())

    slow = int(seconds.argmax())
    for one, device in enumerate(where):
        for target in range(len(speeds)):
            for other in [None, *(k for k, d in enumerate(where) if d == target)]:
                moved = list(where)
                moved[one] = target
                if other is not None:
                    moved[other] = device
                touched = {device, target}
                if slow in touched and np.count_nonzero(seconds == seconds.max()) == 1:
                    assert longest(moved) >= seconds.max() * (1 - 1e-6)


@QUICK
@given(st.floats(0.1, 1), st.lists(st.integers(1, 9), min_size=1, max_size=4), rhos)
def test_the_budget_is_given_away_and_nobody_gets_more_than_all_of_its_work(
    budget: float, speeds: list[int], rho: float
) -> None:
    site = a_site(3, 4, 5, budget=budget, rho=rho, speeds=tuple(speeds))
    most = np.bincount(site.where, minlength=len(speeds)) * 5 * site.costs.full
    assert (site.capacities <= most).all()
    wanted = budget * 60 * site.costs.full
    assert wanted - len(speeds) <= sum(site.capacities) <= wanted + 1e-3


def test_what_a_device_cannot_use_goes_to_the_others() -> None:
    costs = a_site(1, 1, 1).costs
    assert capacities(0.5, costs, (0, 1, 1, 1), (9, 1), 2) == (4, 4)
    assert capacities(0.5, costs, (0, 0, 1, 1), (1, 1), 2) == (4, 4)


def test_forward_only_is_chosen_where_it_is_worth_its_cost() -> None:
    site = a_site(1, 1, 2, budget=0.5, rho=0.5)
    worth = flat(site)._replace(backward=np.full((1, 2), 0.1))
    assert a_planner(site).table(worth, idle(site), 0).tolist() == [[FORWARD, FORWARD]]


@QUICK
@given(st.integers(0, 999), st.integers(1, 4), st.sampled_from([(), (1,), (1, 2)]))
def test_rescaled_groups_add_on_average_what_all_do(
    seed: int, groups: int, ops_that_run: tuple[int, ...]
) -> None:
    """Over the ways in which the operations of a layer may fall on its groups."""
    chosen = np.random.default_rng(seed).choice([SKIP, *ops_that_run], (2, groups, 3))
    turned = [
        np.roll(chosen, turn, axis=1).reshape(-1, 3).astype(np.int8) for turn in range(groups)
    ]
    counts = [
        (ops.reshape(2, groups, 3) != SKIP) * inverse_shares(ops, 2).T[:, None] for ops in turned
    ]
    runs = (chosen != SKIP).any(axis=1, keepdims=True)
    np.testing.assert_allclose(np.mean(counts, axis=0), np.broadcast_to(runs, chosen.shape))
    everything = np.full((2 * groups, 3), FULL, np.int8)
    assert (inverse_shares(everything, 2) == 1).all()
