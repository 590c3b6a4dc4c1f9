"""The graph of a round, over those who published a state in it: the same for all who read the log. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from haversack_trainer.exchange.graphs import matching, matching_rho, of_edges
from haversack_trainer.exchange.topology import Topology, topology, weigh

from .settings import DEGREE, EDGE_PERCENT, Graph, Settings, Weights
from .survey import probing
from .word import Word


def least_neighbourhood(settings: Settings, num_peers: int) -> int:
    """Peers in the smallest neighbourhood, its own included, of a graph over so many; with listed edges, over those
    that they name."""
    if settings.graph is Graph.EDGES:
        num_peers = 1 + max(max(pair) for pair in settings.edge_pairs)
    said = dict.fromkeys(range(num_peers), Word())
    adjacency = network(settings, 0, said, 0).adjacency
    return 1 + int(adjacency.sum(axis=1).min())


def network(settings: Settings, seed: int, words: Mapping[int, Word], round: int) -> Topology:
    """Graph and weights of a round; ``words`` are those of its peers. Raises ``TopologyError``.

    A peer whose state was not finite published none: the others close their graph without it.
    """
    peers = tuple(sorted(words))
    num_samples = [words[peer].num_samples for peer in peers]
    if settings.graph is Graph.EDGES:
        adjacency = of_edges(peers, settings.edge_pairs)
        return weigh(peers, adjacency, settings.weights, num_samples)
    if settings.graph is Graph.MEASURED_LINKS:
        plan = words[peers[0]].plan
        adjacency = of_edges(peers, plan) if plan else probing(len(peers), round)
        return weigh(peers, adjacency, settings.weights, num_samples)
    if settings.graph is Graph.MATCHINGS:
        return weigh(peers, matching(len(peers), seed, round), settings.weights, num_samples)
    return topology(
        settings.graph,
        peers,
        edge_percent=settings.edge_percent or EDGE_PERCENT,
        degree=settings.degree or DEGREE,
        seed=seed,
        weights=settings.weights,
        num_samples=num_samples,
    )


def mean_shares(settings: Settings, graph: Topology, words: Mapping[int, Word]) -> dict[int, float]:
    """What each peer of a round counts in the mean that mixing preserves."""
    if settings.weights is not Weights.PUSH_SUM:
        return {peer: graph.share(peer) for peer in graph.peers}
    masses = {peer: words[peer].mass or 1.0 for peer in graph.peers}
    return {peer: mass / sum(masses.values()) for peer, mass in masses.items()}


def mixing(settings: Settings, graph: Topology) -> float:
    """Rho of a round's graph; of pairs, which do not hang together, that of rounds on average."""
    if settings.graph is Graph.MATCHINGS:
        return matching_rho(len(graph.peers))
    return graph.rho
