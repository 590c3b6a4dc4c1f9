"""The graph of a round, over those who published a state in it: the same for all who read the log. Pure, and no torch
here: the operator asks it, too."""

from __future__ import annotations

from collections.abc import Mapping

from haversack_trainer.exchange.graphs import (
    Adjacency,
    circulant,
    matching,
    matching_rho,
    of_edges,
)
from haversack_trainer.exchange.topology import Topology, topology, weigh

from .kinds import Graph, Shape, Weights
from .word import Word


def probing(n: int, round: int) -> Adjacency:
    """The graph of a round without a plan."""
    longest = max(n // 2, 2)
    return circulant(n, [1, 2 + round % (longest - 1)] if n > 2 else [1])  # noqa: PLR2004  # two have one link


def least_neighbourhood(shape: Shape, num_peers: int) -> int:
    """Peers in the smallest neighbourhood, its own included, of a graph over so many; with listed edges, over those
    that they name."""
    if shape.graph is Graph.EDGES:
        num_peers = 1 + max(max(pair) for pair in shape.edges)
    said = dict.fromkeys(range(num_peers), Word())
    adjacency = network(shape, 0, said, 0).adjacency
    return 1 + int(adjacency.sum(axis=1).min())


def network(shape: Shape, seed: int, words: Mapping[int, Word], round: int) -> Topology:
    """Graph and weights of a round; ``words`` are those of its peers. Raises ``TopologyError``.

    A peer whose state was not finite published none: the others close their graph without it.
    """
    peers = tuple(sorted(words))
    num_samples = [words[peer].num_samples for peer in peers]
    if shape.graph is Graph.EDGES:
        adjacency = of_edges(peers, shape.edges)
        return weigh(peers, adjacency, shape.weights, num_samples)
    if shape.graph is Graph.MEASURED_LINKS:
        plan = words[peers[0]].plan
        adjacency = of_edges(peers, plan) if plan else probing(len(peers), round)
        return weigh(peers, adjacency, shape.weights, num_samples)
    if shape.graph is Graph.MATCHINGS:
        return weigh(peers, matching(len(peers), seed, round), shape.weights, num_samples)
    return topology(
        shape.graph,
        peers,
        edge_percent=shape.edge_percent,
        degree=shape.degree,
        seed=seed,
        weights=shape.weights,
        num_samples=num_samples,
    )


def mean_shares(shape: Shape, graph: Topology, words: Mapping[int, Word]) -> dict[int, float]:
    """What each peer of a round counts in the mean that mixing preserves."""
    if shape.weights is not Weights.PUSH_SUM:
        return {peer: graph.share(peer) for peer in graph.peers}
    masses = {peer: words[peer].mass or 1.0 for peer in graph.peers}
    return {peer: mass / sum(masses.values()) for peer, mass in masses.items()}


def mixing(shape: Shape, graph: Topology) -> float:
    """Rho of a round's graph; of pairs, which do not hang together, that of rounds on average."""
    if shape.graph is Graph.MATCHINGS:
        return matching_rho(len(graph.peers))
    return graph.rho
