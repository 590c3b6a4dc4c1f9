"""Graphs and weights: the invariants that mixing rests on."""

from __future__ import annotations

from math import cos, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.exchange.graphs import is_connected, of_edges, parts, regular
from haversack_trainer.exchange.topology import (
    Graph,
    Topology,
    TopologyError,
    Weights,
    metropolis_weights,
    topology,
)
from haversack_trainer.exchange.weights import laplacian_weights

topologies = st.builds(
    lambda graph, weights, peers, seed: topology(
        graph, tuple(sorted(peers)), edge_percent=60, seed=seed, weights=weights
    ),
    st.sampled_from([graph.value for graph in Graph]),
    st.sampled_from([Weights.METROPOLIS, Weights.LAPLACIAN]),
    st.sets(st.integers(0, 300), min_size=1, max_size=12),
    st.integers(0, 2**31 - 1),
)


@given(topologies)
def test_weights_are_symmetric_doubly_stochastic_and_on_the_graph(mix: Topology) -> None:
    weights, n = mix.weights, len(mix.peers)
    assert np.array_equal(weights, weights.T)
    assert (weights >= 0).all()
    assert (np.diag(weights) > 0).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-12)
    assert not weights[~mix.adjacency & ~np.eye(n, dtype=bool)].any()
    assert mix.rho < 1


@given(topologies, st.integers(0, 2**32 - 1))
def test_mixing_keeps_the_mean_and_contracts_the_disagreement(mix: Topology, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(len(mix.peers), 7))
    mixed = mix.weights @ values
    np.testing.assert_allclose(mixed.mean(axis=0), values.mean(axis=0), atol=1e-12)
    error = ((values - values.mean(axis=0)) ** 2).sum()
    after = ((mixed - mixed.mean(axis=0)) ** 2).sum()
    assert after <= mix.rho**2 * error + 1e-12


@given(topologies, st.integers(0, 2**32 - 1))
def test_relabelling_nodes_permutes_the_weights_only(mix: Topology, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(mix.peers))
    for weigh in (metropolis_weights, laplacian_weights):
        permuted = weigh(mix.adjacency[np.ix_(order, order)])
        np.testing.assert_allclose(permuted, weigh(mix.adjacency)[np.ix_(order, order)], atol=1e-14)


@given(
    st.sampled_from(list(Graph)),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=9),
    st.integers(0, 2**31 - 1),
)
def test_weights_by_samples_preserve_the_mean_by_samples(
    graph: Graph, num_samples: list[int], seed: int
) -> None:
    peers = tuple(range(len(num_samples)))
    mix = topology(graph, peers, seed=seed, weights=Weights.SAMPLES, num_samples=num_samples)
    flow = mix.shares[:, None] * mix.weights
    np.testing.assert_allclose(mix.shares @ mix.weights, mix.shares, atol=1e-12)
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)
    np.testing.assert_allclose(mix.weights.sum(axis=1), 1, atol=1e-12)
    assert (mix.weights >= 0).all()
    assert mix.rho < 1
    values = np.random.default_rng(seed).normal(size=(len(peers), 3))
    errors = [
        (mix.shares[:, None] * (v - mix.shares @ values) ** 2).sum()
        for v in (values, mix.weights @ values)
    ]
    assert errors[1] <= mix.rho**2 * errors[0] + 1e-12


def test_the_papers_laplacian_mixes_more_slowly() -> None:
    peers = tuple(range(10))
    for graph, rho in (("Ring", 0.936), ("Exponential", None), ("ErdosRenyi", None)):
        metropolis = topology(graph, peers, seed=3)
        laplacian = topology(graph, peers, seed=3, weights=Weights.LAPLACIAN)
        assert metropolis.rho < laplacian.rho
        if rho is not None:
            assert laplacian.rho == pytest.approx(rho, abs=5e-4)


def test_a_star_gives_everybody_the_mean_of_all() -> None:
    mix = topology("Star", (1, 2, 3, 4))
    np.testing.assert_allclose(mix.weights, 0.25, atol=1e-15)
    assert mix.neighbours(3) == (1, 2, 4)


@given(st.integers(1, 24), st.integers(2, 9), st.integers(0, 2**31 - 1))
def test_regular_graphs_are_regular_and_connected(n: int, degree: int, seed: int) -> None:
    adjacency = regular(n, degree, seed)
    wanted = min(degree, n - 1)
    wanted -= wanted * n % 2
    assert set(adjacency.sum(axis=1).tolist()) == {wanted}
    assert is_connected(adjacency)
    assert np.array_equal(adjacency, adjacency.T)
    assert not adjacency.diagonal().any()


def test_a_random_regular_graph_mixes_faster_than_a_lattice_of_its_degree() -> None:
    peers = tuple(range(40))
    lattice = _lattice(40)
    slow = Topology(peers, lattice, metropolis_weights(lattice), np.full(40, 1 / 40))
    assert topology("Regular", peers, degree=4, seed=1).rho < 0.9 * slow.rho


def _lattice(n: int) -> np.ndarray:
    hops = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return np.isin(np.minimum(hops, n - hops), (1, 2))


@given(
    st.sets(st.integers(0, 9), min_size=1).map(lambda found: tuple(sorted(found))),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12),
)
def test_listed_edges_are_always_a_connected_graph(
    nodes: tuple[int, ...], edges: list[tuple[int, int]]
) -> None:
    adjacency = of_edges(nodes, edges)
    assert is_connected(adjacency)
    assert len(parts(adjacency)) == 1
    for one, other in edges:
        if one != other and one in nodes and other in nodes:
            assert adjacency[nodes.index(one), nodes.index(other)]
    assert adjacency.sum() / 2 <= len({frozenset(edge) for edge in edges}) + len(nodes) - 1


@given(st.integers(2, 9), st.integers(0, 2**31 - 1))
def test_changing_matchings_come_to_consensus_though_none_of_them_is_connected(
    n: int, seed: int
) -> None:
    """Pairs that average, other pairs each round, somebody left over where n is odd."""
    random = np.random.default_rng(seed)
    start = values = random.normal(size=(n, 3))
    for _ in range(20 * n):
        order = random.permutation(n)
        pairs = order[: n - n % 2].reshape(-1, 2)
        matching = np.zeros((n, n), dtype=bool)
        matching[pairs[:, 0], pairs[:, 1]] = matching[pairs[:, 1], pairs[:, 0]] = True
        values = metropolis_weights(matching) @ values
    np.testing.assert_allclose(values, np.tile(start.mean(axis=0), (n, 1)), atol=1e-3)


@pytest.mark.parametrize("graph", [graph.value for graph in Graph])
def test_only_the_order_of_the_peers_matters(graph: str) -> None:
    low = topology(graph, (0, 1, 2, 3, 4), seed=3)
    high = topology(graph, (7, 9, 100, 200, 201), seed=3)
    assert np.array_equal(low.weights, high.weights)


@pytest.mark.parametrize(
    ("n", "rho"), [(4, 0.333), (8, 0.805), (10, 0.873), (20, 0.967), (32, 0.987)]
)
def test_rings_mix_as_fast_as_theory_says(n: int, rho: float) -> None:
    mix = topology("Ring", tuple(range(n)))
    assert mix.rho == pytest.approx(rho, abs=5e-4)
    assert mix.rho == pytest.approx(1 / 3 + 2 / 3 * cos(2 * pi / n), abs=1e-12)


def test_a_complete_graph_averages_at_once() -> None:
    mix = topology("Complete", (1, 2, 3, 4))
    np.testing.assert_allclose(mix.weights, 0.25, atol=1e-15)
    assert mix.rho == pytest.approx(0, abs=1e-12)


def test_an_exponential_graph_reaches_far_with_few_edges() -> None:
    mix = topology("Exponential", tuple(range(16)))
    assert mix.neighbours(0) == (1, 2, 4, 8, 12, 14, 15)
    assert mix.rho < topology("Ring", tuple(range(16))).rho


def test_one_or_two_peers_are_graphs_too() -> None:
    for graph in Graph:
        assert topology(graph, (5,)).row(5) == {5: 1.0}
        assert topology(graph, (5, 9)).row(9) == {5: 0.5, 9: 0.5}


def test_a_random_regular_graph_is_the_same_everywhere() -> None:
    """Frozen: peers of different machines must draw the same graph."""
    mix = topology("Regular", tuple(range(7)), degree=4, seed=17)
    assert [mix.neighbours(peer) for peer in range(7)] == [
        (2, 3, 5, 6),
        (2, 3, 4, 6),
        (0, 1, 4, 6),
        (0, 1, 4, 5),
        (1, 2, 3, 5),
        (0, 3, 4, 6),
        (0, 1, 2, 5),
    ]


def test_a_random_graph_is_the_same_everywhere() -> None:
    """Frozen: peers of different machines must draw the same graph."""
    mix = topology("ErdosRenyi", (0, 1, 2, 3, 4, 5), edge_percent=50, seed=17)
    assert [mix.neighbours(peer) for peer in mix.peers] == [
        (2, 4, 5),
        (2, 3),
        (0, 1, 3, 4),
        (1, 2, 4),
        (0, 2, 3),
        (0,),
    ]


def test_a_graph_that_will_not_connect_says_what_to_change() -> None:
    with pytest.raises(TopologyError, match=r"raise edgePercent to \d+ or more"):
        topology("ErdosRenyi", tuple(range(40)), edge_percent=1)


@pytest.mark.parametrize("peers", [(), (2, 1), (1, 1)])
def test_peers_must_be_in_order(peers: tuple[int, ...]) -> None:
    with pytest.raises(TopologyError, match="ascending order"):
        topology("Ring", peers)
