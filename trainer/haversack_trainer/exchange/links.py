"""A graph for links that are not alike: as few bytes over slow ones as a wanted speed of mixing allows. Pure.

Every edge carries a state in both directions each round, so a graph costs the sum of its edges' costs. Nobody can
try all graphs: it begins with the cheapest tree, adds edges where the slowest mode of disagreement differs most for
its cost, and in the end takes out the dearest ones that can be spared.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .graphs import Adjacency, complete, is_connected
from .weights import metropolis_weights

Costs = NDArray[np.float64]
"""[n, n], symmetric, above 0 off the diagonal: of one state over the link, in any unit."""
_ADDED_SHARE: Final = 0.1
"""Of the edges there are, how many are added before rho is looked at again."""


def planned(costs: Costs, rho: float) -> Adjacency:
    """A connected graph that mixes with Metropolis weights at least as fast as ``rho``, and from which no edge can
    be taken without losing that."""
    n = len(costs)
    if n <= 2:  # noqa: PLR2004  # there is but one graph
        return complete(n)
    adjacency = _cheapest_tree(costs)
    while _rho(adjacency) > rho and not adjacency[~np.eye(n, dtype=np.bool_)].all():
        _add_edges(adjacency, costs)
    return _pruned(adjacency, costs, rho)


def cost_of(adjacency: Adjacency, costs: Costs) -> float:
    """Sum of the edges' costs."""
    return float(costs[np.triu(adjacency)].sum())


def _cheapest_tree(costs: Costs) -> Adjacency:
    n = len(costs)
    adjacency, parts = np.zeros((n, n), dtype=np.bool_), list(range(n))
    for one, other in _by_cost(~np.eye(n, dtype=np.bool_), costs):
        if parts[one] != parts[other]:
            adjacency[one, other] = adjacency[other, one] = True
            gone, kept = parts[other], parts[one]
            parts = [kept if part == gone else part for part in parts]
    return adjacency


def _add_edges(adjacency: Adjacency, costs: Costs) -> None:
    """Those with the most gain for their cost: an edge of weight w takes w·(v_i - v_j)^2 off v'Qv."""
    values, vectors = np.linalg.eigh(_mixing(adjacency))
    slowest = vectors[:, np.abs(values).argmax()]
    absent = np.triu(~adjacency, k=1)
    gains = np.where(absent, np.square(np.subtract.outer(slowest, slowest)), -1.0)
    gains = np.divide(gains, costs, out=gains, where=absent)
    count = max(1, int(_ADDED_SHARE * adjacency.sum() / 2))
    best = np.argsort(-gains, axis=None, kind="stable")[: min(count, int(absent.sum()))]
    rows, columns = np.unravel_index(best, gains.shape)
    adjacency[rows, columns] = adjacency[columns, rows] = True


def _pruned(adjacency: Adjacency, costs: Costs, rho: float) -> Adjacency:
    """Without what can be spared; again and again, since fewer neighbours count more each."""
    left, enough = adjacency.copy(), max(rho, _rho(adjacency))
    found = True
    while found:
        found = False
        for one, other in reversed(_by_cost(left, costs)):
            left[one, other] = left[other, one] = False
            spared = is_connected(left) and _rho(left) <= enough
            left[one, other] = left[other, one] = not spared
            found |= spared
    return left


def _by_cost(adjacency: Adjacency, costs: Costs) -> list[tuple[int, int]]:
    edges = np.argwhere(np.triu(adjacency))
    order = np.argsort([costs[one, other] for one, other in edges], kind="stable")
    return [(int(one), int(other)) for one, other in edges[order]]


def _mixing(adjacency: Adjacency) -> NDArray[np.float64]:
    return metropolis_weights(adjacency) - 1 / len(adjacency)


def _rho(adjacency: Adjacency) -> float:
    return float(np.abs(np.linalg.eigvalsh(_mixing(adjacency))).max())
