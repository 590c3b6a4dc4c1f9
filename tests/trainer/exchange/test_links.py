"""Graphs planned from links' costs: connected, fast enough, cheap, with nothing to spare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haversack_trainer.exchange.graphs import Adjacency, Graph, is_connected
from haversack_trainer.exchange.links import cost_of, planned
from haversack_trainer.exchange.topology import topology, weigh

few = settings(max_examples=40, deadline=None)


def random_costs(n: int, seed: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(seed).lognormal(0, 1.5, (n, n))
    return np.asarray(drawn + drawn.T)


def sites(num_sites: int, size: int, slow: float) -> NDArray[np.float64]:
    """Peers of one site have links of cost 1, those of two of cost ``slow``."""
    site = np.arange(num_sites * size) // size
    return np.where(np.equal.outer(site, site), 1.0, slow)


def rho_of(adjacency: Adjacency) -> float:
    return weigh(tuple(range(len(adjacency))), adjacency).rho


@few
@given(st.integers(1, 12), st.integers(0, 10_000), st.floats(0.0, 0.99))
def test_a_plan_is_connected_and_mixes_as_fast_as_wanted(n: int, seed: int, rho: float) -> None:
    adjacency = planned(random_costs(n, seed), rho)
    assert is_connected(adjacency)
    assert np.array_equal(adjacency, adjacency.T)
    assert not adjacency.diagonal().any()
    assert rho_of(adjacency) <= rho + 1e-9


@few
@given(st.integers(3, 10), st.integers(0, 10_000), st.floats(0.1, 0.95))
def test_no_edge_can_be_spared(n: int, seed: int, rho: float) -> None:
    adjacency = planned(random_costs(n, seed), rho)
    for one, other in np.argwhere(np.triu(adjacency)):
        less = adjacency.copy()
        less[one, other] = less[other, one] = False
        assert not is_connected(less) or rho_of(less) > rho - 1e-9


@few
@given(st.integers(2, 10), st.integers(0, 10_000))
def test_slowly_enough_it_is_the_cheapest_tree(n: int, seed: int) -> None:
    costs = random_costs(n, seed)
    adjacency = planned(costs, 0.9999)
    assert adjacency.sum() / 2 == n - 1
    for one, other in np.argwhere(np.triu(~adjacency, k=1)):
        assert costs[one, other] >= _dearest_on_the_way(adjacency, costs, one, other)


def _dearest_on_the_way(adjacency: Adjacency, costs: NDArray[np.float64], a: int, b: int) -> float:
    """In a tree."""
    reached = {int(a): 0.0}
    while b not in reached:
        for node, dearest in list(reached.items()):
            for after in np.flatnonzero(adjacency[node]):
                reached.setdefault(int(after), max(dearest, float(costs[node, after])))
    return reached[int(b)]


@pytest.mark.parametrize("graph", [Graph.RING, Graph.EXPONENTIAL, Graph.REGULAR])
@pytest.mark.parametrize("slow", [5.0, 100.0])
def test_over_two_sites_it_is_cheaper_than_any_graph_that_mixes_as_fast(
    graph: Graph, slow: float
) -> None:
    costs = sites(2, 6, slow)
    scattered = np.random.default_rng(1).permutation(12)
    costs = costs[np.ix_(scattered, scattered)]
    usual = topology(graph, tuple(range(12)), seed=3)
    adjacency = planned(costs, usual.rho)
    assert rho_of(adjacency) <= usual.rho + 1e-9
    assert cost_of(adjacency, costs) < 0.8 * cost_of(usual.adjacency, costs)


def test_the_faster_the_dearer() -> None:
    costs = random_costs(12, 4)
    found = [cost_of(planned(costs, rho), costs) for rho in (0.95, 0.8, 0.6, 0.3, 0.0)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(cost_of(~np.eye(12, dtype=bool), costs))


def test_over_four_sites_few_links_between_them_are_used() -> None:
    costs, peers = sites(4, 8, 50.0), tuple(range(32))
    usual = topology("Regular", peers, degree=4, seed=1)
    adjacency = planned(costs, usual.rho)
    between = [int((graph & (costs > 1)).sum()) for graph in (adjacency, usual.adjacency)]
    assert rho_of(adjacency) <= usual.rho + 1e-9
    assert between[0] < 0.8 * between[1]
