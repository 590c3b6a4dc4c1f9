"""What must hold for every demand and every set of nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations, product
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_builders import a_kind
from placement_instances import demands, node_lists, overcommitted, solutions

from haversack_operator.placement import bound, greedy, ring
from haversack_operator.placement.assign import assign
from haversack_operator.placement.demand import Demand
from haversack_operator.placement.plan import Infeasible, Plan
from haversack_operator.placement.problem import build
from haversack_operator.snapshot import Assignment, Node

few = settings(max_examples=60, deadline=None)


@few
@given(demands(), node_lists())
def test_a_plan_fits_and_keeps_the_gang_together(demand: Demand, nodes: list[Node]) -> None:
    plan = assign(demand, nodes)
    if isinstance(plan, Infeasible):
        return
    assert overcommitted(demand, nodes, plan.assignments) == []
    placed = Counter(one.pool for one in plan.assignments)
    assert all(kind.min <= placed[kind.pool] <= kind.replicas for kind in demand.kinds)
    assert len(plan.assignments) >= demand.min_peers
    peers = [one.peer for one in plan.assignments]
    assert peers == sorted(set(peers))
    assert all(
        one.peer in kind.peers
        for one in plan.assignments
        for kind in demand.kinds
        if kind.pool == one.pool
    )


@few
@given(demands(), node_lists())
def test_beside_a_plan_there_is_room_for_the_hub(demand: Demand, nodes: list[Node]) -> None:
    hub = a_kind("hub", first=100, cpu=1, memory=1)
    plan = assign(replace(demand, hub=hub), nodes)
    if isinstance(plan, Infeasible):
        return
    assert plan.hub_node is not None
    rows = (*plan.assignments, Assignment(100, "hub", plan.hub_node, 8))
    assert overcommitted(replace(demand, kinds=(*demand.kinds, hub)), nodes, rows) == []


@few
@given(demands(), node_lists(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_makes_no_difference(
    demand: Demand, nodes: list[Node], random: Random
) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert assign(demand, shuffled) == assign(demand, nodes)


@few
@given(demands(most=2), node_lists(most=3))
def test_the_plan_is_the_best_of_all(demand: Demand, nodes: list[Node]) -> None:
    """Against every solution there is: value, proof, bound, and what is infeasible."""
    problem = build(demand, nodes, ())
    scores = [greedy.score(problem, counts) for counts in solutions(problem)]
    plan = assign(demand, nodes)
    if not scores:
        assert isinstance(plan, Infeasible)
        assert plan.proven
        return
    best = min(scores)
    assert isinstance(plan, Plan)
    num_peers, *others = (level.value for level in plan.levels)
    assert (int(problem.want.sum()) - num_peers, *others) == best
    assert plan.gap_percent == "0"


@few
@given(demands(most=2), node_lists(most=3))
def test_the_cheap_bound_is_one_and_best_fit_obeys(demand: Demand, nodes: list[Node]) -> None:
    problem = build(demand, nodes, ())
    found = greedy.solve(problem)
    assert (problem.left(found) >= 0).all()
    assert (found.sum(axis=1) <= problem.want).all()
    known = bound.bounds(problem)
    for counts in solutions(problem):
        value = greedy.score(problem, counts)
        assert value.left_out >= known.left_out
        given_placed = bound.bounds(problem, int(counts.sum()))
        assert all(a >= b for a, b in zip(value[1:], given_placed[1:], strict=True))


@few
@given(demands(), node_lists(), st.data())
def test_running_peers_stay(demand: Demand, nodes: list[Node], data: st.DataObject) -> None:
    plan = assign(demand, nodes)
    if isinstance(plan, Infeasible):
        return
    keep = data.draw(st.lists(st.sampled_from(plan.assignments), unique=True))
    again = assign(demand, nodes, keep)
    assert isinstance(again, Plan)
    assert set(keep) <= set(again.assignments)
    assert overcommitted(demand, nodes, again.assignments) == []
    assert len(again.assignments) <= len(plan.assignments)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=4))
def test_no_order_of_the_zones_crosses_less(pools: list[set[int]]) -> None:
    presence = np.array([[zone in zones for zone in range(3)] for zones in pools])
    orders = [list(permutations(sorted(zones))) for zones in pools]
    fewest = min(
        ring.num_crossings([zone for run in way for zone in run]) for way in product(*orders)
    )
    assert ring.crossings(presence, ring=True) == fewest
