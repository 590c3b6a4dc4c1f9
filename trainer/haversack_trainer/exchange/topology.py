"""Who mixes with whom, and how much: a graph and its gossip weights over a round's members. Pure.

One mixing step multiplies the squared consensus error by at most ``rho ** 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .graphs import (
    Adjacency,
    Graph,
    TopologyError,
    complete,
    erdos_renyi,
    exponential,
    regular,
    ring,
)
from .weights import (
    Weights,
    laplacian_weights,
    metropolis_weights,
    sample_weights,
    shares_of,
    walk_weights,
)

__all__ = [
    "Graph",
    "Topology",
    "TopologyError",
    "Weights",
    "metropolis_weights",
    "topology",
    "weigh",
]


@dataclass(frozen=True, eq=False)
class Topology:
    """A connected undirected graph over ``peers`` (ascending) with its mixing weights."""

    peers: tuple[int, ...]
    adjacency: Adjacency
    weights: NDArray[np.float64]
    """[n, n], Q."""
    shares: NDArray[np.float64]
    """[n], pi: what each peer counts in the mean that mixing preserves."""

    @cached_property
    def rho(self) -> float:
        """Largest absolute eigenvalue of Q - 1·pi'; 0 mixes at once, 1 never."""
        root = np.sqrt(self.shares)
        # Similar to Q - 1·pi', and symmetric, since Q is reversible with respect to pi.
        alike = root[:, None] * self.weights / root[None, :] - np.outer(root, root)
        return float(np.abs(np.linalg.eigvalsh(alike)).max())

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

    def share(self, peer: int) -> float:
        """What ``peer`` counts in the mean."""
        return float(self.shares[self.peers.index(peer)])


def topology(
    graph: str,
    peers: tuple[int, ...],
    *,
    edge_percent: int = 50,
    degree: int = 4,
    seed: int = 0,
    weights: str = Weights.METROPOLIS,
    num_samples: Sequence[int] = (),
) -> Topology:
    """The graph over ``peers`` and its weights: the same on every machine.

    ``edge_percent`` is for ErdosRenyi only, ``degree`` for Regular, ``seed`` for both. Star is what a server would
    do: everybody gets the mean of all. Raises ``TopologyError``.
    """
    adjacency = _adjacency(Graph(graph), len(peers), edge_percent, degree, seed) if peers else None
    found = weigh(peers, adjacency, weights, num_samples)
    if graph == Graph.STAR:
        return replace(found, weights=np.tile(found.shares, (len(peers), 1)))
    return found


def weigh(
    peers: tuple[int, ...],
    adjacency: Adjacency | None,
    weights: str = Weights.METROPOLIS,
    num_samples: Sequence[int] = (),
) -> Topology:
    """Weights on a graph that is there; ``num_samples`` of each peer is for weights by samples only."""
    if adjacency is None or not peers or list(peers) != sorted(set(peers)):
        raise TopologyError("a graph needs at least one peer, each once, in ascending order")
    equal = shares_of([1] * len(peers))
    match Weights(weights):
        case Weights.METROPOLIS:
            return Topology(peers, adjacency, metropolis_weights(adjacency), equal)
        case Weights.LAPLACIAN:
            return Topology(peers, adjacency, laplacian_weights(adjacency), equal)
        case Weights.SAMPLES:
            by_samples = sample_weights(adjacency, num_samples)
            return Topology(peers, adjacency, by_samples, shares_of(num_samples))
        case Weights.PUSH_SUM:
            stationary = shares_of((1 + adjacency.sum(axis=1)).tolist())
            return Topology(peers, adjacency, walk_weights(adjacency), stationary)


def _adjacency(graph: Graph, n: int, edge_percent: int, degree: int, seed: int) -> Adjacency:
    match graph:
        case Graph.RING:
            return ring(n)
        case Graph.EXPONENTIAL:
            return exponential(n)
        case Graph.REGULAR:
            return regular(n, degree, seed)
        case Graph.ERDOS_RENYI:
            return erdos_renyi(n, edge_percent, seed)
        case Graph.COMPLETE | Graph.STAR:
            return complete(n)
