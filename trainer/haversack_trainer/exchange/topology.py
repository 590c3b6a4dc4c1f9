"""Who mixes with whom, and how much: graphs and gossip weights over a round's members. Pure.

Weights are Metropolis-Hastings: ``q_ij = 1 / (1 + max(deg_i, deg_j))`` on edges, the rest on the
diagonal. They are symmetric and doubly stochastic on any graph and need only the neighbours' degrees
(Xiao and Boyd, "Fast linear iterations for distributed averaging", 2004). One mixing step multiplies the
squared consensus error by at most ``rho ** 2``, ``rho`` being the largest absolute eigenvalue of Q - 11'/n.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_DRAWS: Final = 2000
"""Ten peers at 10 % need 145 draws on average; this many fail once in a million."""
_UNIFORM_BITS: Final = 53


class TopologyError(ValueError):
    """The graph that was asked for cannot be had; says what to change."""


class Graph(StrEnum):
    """Kinds of graphs, by the values of the methods' settings."""

    RING = "Ring"
    EXPONENTIAL = "Exponential"
    ERDOS_RENYI = "ErdosRenyi"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """A connected undirected graph over ``peers`` (ascending) with its mixing weights."""

    peers: tuple[int, ...]
    adjacency: NDArray[np.bool_]
    """[n, n], symmetric, False on the diagonal."""
    weights: NDArray[np.float64]
    """[n, n], Q."""

    @property
    def rho(self) -> float:
        """Largest absolute eigenvalue of Q - 11'/n; 0 mixes at once, 1 never."""
        n = len(self.peers)
        return float(np.abs(np.linalg.eigvalsh(self.weights - np.full((n, n), 1 / n))).max())

    def row(self, peer: int) -> dict[int, float]:
        """What ``peer`` mixes: weight of itself and of each neighbour, in ascending order of peer."""
        index = self.peers.index(peer)
        return {
            other: float(self.weights[index, at])
            for at, other in enumerate(self.peers)
            if at == index or self.adjacency[index, at]
        }

    def neighbours(self, peer: int) -> tuple[int, ...]:
        """Peers that share an edge with ``peer``, ascending."""
        return tuple(other for other in self.row(peer) if other != peer)


def topology(
    graph: str, peers: tuple[int, ...], *, edge_percent: int = 50, seed: int = 0
) -> Topology:
    """The graph over ``peers`` and its weights: the same on every machine.

    ``edge_percent`` and ``seed`` are for ErdosRenyi only. Raises ``TopologyError``.
    """
    if not peers or list(peers) != sorted(set(peers)):
        raise TopologyError("a graph needs at least one peer, each once, in ascending order")
    adjacency = _adjacency(Graph(graph), len(peers), edge_percent, seed)
    return Topology(peers, adjacency, metropolis_weights(adjacency))


def metropolis_weights(adjacency: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Metropolis-Hastings weights of an undirected graph; [n, n] to [n, n]."""
    degrees = adjacency.sum(axis=1)
    weights = np.where(adjacency, 1.0 / (1.0 + np.maximum.outer(degrees, degrees)), 0.0)
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights


def _adjacency(graph: Graph, n: int, edge_percent: int, seed: int) -> NDArray[np.bool_]:
    match graph:
        case Graph.RING:
            return _circulant(n, [1])
        case Graph.EXPONENTIAL:
            return _circulant(n, [2**k for k in range(n.bit_length()) if 2**k < n])
        case Graph.COMPLETE:
            return ~np.eye(n, dtype=np.bool_)
        case Graph.ERDOS_RENYI:
            return _erdos_renyi(n, edge_percent, seed)


def _circulant(n: int, hops: list[int]) -> NDArray[np.bool_]:
    adjacency = np.zeros((n, n), dtype=np.bool_)
    nodes = np.arange(n)
    for hop in hops:
        adjacency[nodes, (nodes + hop) % n] = True
    np.fill_diagonal(adjacency, val=False)
    return adjacency | adjacency.T


def _erdos_renyi(n: int, edge_percent: int, seed: int) -> NDArray[np.bool_]:
    upper = np.triu_indices(n, k=1)
    threshold = (edge_percent << _UNIFORM_BITS) // 100
    # Raw bits of a counter-free generator: NumPy promises its stream, unlike that of Generator's methods.
    bits = np.random.PCG64(seed)
    for _ in range(MAX_DRAWS):
        raw = np.asarray(bits.random_raw(len(upper[0])), dtype=np.uint64)
        adjacency = np.zeros((n, n), dtype=np.bool_)
        adjacency[upper] = (raw >> np.uint64(64 - _UNIFORM_BITS)) < np.uint64(threshold)
        adjacency |= adjacency.T
        if _is_connected(adjacency):
            return adjacency
    raise TopologyError(
        f"no connected graph over {n} peers in {MAX_DRAWS} draws with edges at {edge_percent} %: "
        f"raise edgePercent to {min(100, ceil(100 * log(n) / n) + 1)} or more, or choose another graph"
    )


def _is_connected(adjacency: NDArray[np.bool_]) -> bool:
    reached = np.zeros(len(adjacency), dtype=np.bool_)
    reached[0] = True
    frontier = reached
    while frontier.any():
        frontier = adjacency[frontier].any(axis=0) & ~reached
        reached = reached | frontier
    return bool(reached.all())
