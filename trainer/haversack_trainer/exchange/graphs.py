"""Who is whose neighbour: undirected graphs over n nodes, as [n, n] adjacency. Pure, and in whole numbers only, so
that peers on different machines draw the same graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from math import ceil, log, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_DRAWS: Final = 2000
"""Ten peers at 10 % need 145 draws on average; this many fail once in a million."""
SWAPS_PER_EDGE: Final = 10
_UNIFORM_BITS: Final = 53

Adjacency = NDArray[np.bool_]
"""[n, n], symmetric, False on the diagonal."""
Edge = tuple[int, int]


class TopologyError(ValueError):
    """The graph that was asked for cannot be had; says what to change."""


class Graph(StrEnum):
    """Kinds of graphs, by the values of the methods' settings."""

    RING = "Ring"
    EXPONENTIAL = "Exponential"
    REGULAR = "Regular"
    ERDOS_RENYI = "ErdosRenyi"
    COMPLETE = "Complete"
    STAR = "Star"


def ring(n: int) -> Adjacency:
    """Each node and the next."""
    return circulant(n, [1])


def exponential(n: int) -> Adjacency:
    """Each node and those 1, 2, 4, … further on (Ying et al., arXiv 2110.13363)."""
    return circulant(n, [2**k for k in range(n.bit_length()) if 2**k < n])


def complete(n: int) -> Adjacency:
    """All with all."""
    return ~np.eye(n, dtype=np.bool_)


def circulant(n: int, hops: Iterable[int]) -> Adjacency:
    """Each node and those ``hops`` further on, round and round."""
    adjacency = np.zeros((n, n), dtype=np.bool_)
    nodes = np.arange(n)
    for hop in hops:
        adjacency[nodes, (nodes + hop) % n] = True
    np.fill_diagonal(adjacency, val=False)
    return adjacency | adjacency.T


def regular(n: int, degree: int, seed: int) -> Adjacency:
    """A random connected graph in which every node has ``degree`` neighbours, or one fewer where both n and
    degree are odd (no such graph exists); complete from n - 1 on.

    Edges of a circulant graph are swapped pairwise at random, which keeps all degrees.
    """
    if degree >= n - 1:
        return complete(n)
    degree -= degree * n % 2
    start = circulant(n, [*range(1, degree // 2 + 1), *([n // 2] if degree % 2 else [])])
    draw = _draws(seed)
    for _ in range(MAX_DRAWS):
        adjacency = _swapped(start, draw)
        if is_connected(adjacency):
            return adjacency
    return start


def erdos_renyi(n: int, edge_percent: int, seed: int) -> Adjacency:
    """Each pair with this probability, drawn until the graph is connected. Raises ``TopologyError``."""
    upper = np.triu_indices(n, k=1)
    threshold = (edge_percent << _UNIFORM_BITS) // 100
    # Raw bits of a counter-free generator: NumPy promises its stream, unlike that of Generator's methods.
    bits = np.random.PCG64(seed)
    for _ in range(MAX_DRAWS):
        raw = np.asarray(bits.random_raw(len(upper[0])), dtype=np.uint64)
        adjacency = np.zeros((n, n), dtype=np.bool_)
        adjacency[upper] = (raw >> np.uint64(64 - _UNIFORM_BITS)) < np.uint64(threshold)
        adjacency |= adjacency.T
        if is_connected(adjacency):
            return adjacency
    raise TopologyError(
        f"no connected graph over {n} peers in {MAX_DRAWS} draws with edges at {edge_percent} %: "
        f"raise edgePercent to {min(100, ceil(100 * log(n) / n) + 1)} or more, or choose another graph"
    )


def matching(n: int, seed: int, round: int) -> Adjacency:
    """A random matching, another one each round: pairs, and one node alone where n is odd."""
    order = list(range(n))
    numbers = _draws([seed, round])()
    for last in range(n - 1, 0, -1):
        other = next(numbers) % (last + 1)
        order[last], order[other] = order[other], order[last]
    adjacency = np.zeros((n, n), dtype=np.bool_)
    for one, other in zip(order[::2], order[1::2], strict=False):
        adjacency[one, other] = adjacency[other, one] = True
    return adjacency


def matching_rho(n: int) -> float:
    """How a round of random matchings mixes: the root of the factor by which it shrinks the squared disagreement, on
    average.

    Averaging over pairs is a projection W, so E|W·x|^2 = x'·E[W]·x, and E[W] = I - p/2·L with L the complete graph's
    Laplacian and p the probability of a pair, 1 / (n - 1), or 1 / n where one stays alone.
    """
    if n <= 1:
        return 0.0
    pair = 1 / n if n % 2 else 1 / (n - 1)
    return sqrt(1 - n * pair / 2)


def of_edges(nodes: tuple[int, ...], edges: Iterable[Edge]) -> Adjacency:
    """These edges between ``nodes``, as far as both ends are among them. Where that leaves parts without a
    link, the lowest nodes of the parts are joined in a chain: those who are left go on mixing."""
    index = {node: at for at, node in enumerate(nodes)}
    adjacency = np.zeros((len(nodes), len(nodes)), dtype=np.bool_)
    for one, other in edges:
        if one != other and one in index and other in index:
            adjacency[index[one], index[other]] = adjacency[index[other], index[one]] = True
    lowest = [min(part) for part in parts(adjacency)]
    for one, other in pairwise(lowest):
        adjacency[one, other] = adjacency[other, one] = True
    return adjacency


def parts(adjacency: Adjacency) -> list[set[int]]:
    """The connected parts, by their lowest node."""
    left, found = set(range(len(adjacency))), []
    while left:
        part = _reached(adjacency, min(left))
        found.append(part)
        left -= part
    return found


def is_connected(adjacency: Adjacency) -> bool:
    """Whether everybody can be reached from everybody."""
    return len(_reached(adjacency, 0)) == len(adjacency)


def _reached(adjacency: Adjacency, start: int) -> set[int]:
    reached = np.zeros(len(adjacency), dtype=np.bool_)
    reached[start] = True
    frontier = reached
    while frontier.any():
        frontier = adjacency[frontier].any(axis=0) & ~reached
        reached = reached | frontier
    return {int(node) for node in np.flatnonzero(reached)}


def _swapped(adjacency: Adjacency, draw: Callable[[], Iterator[int]]) -> Adjacency:
    """Two random edges a-b, c-d become a-d, c-b where both are new, again and again."""
    swapped = adjacency.copy()
    edges = [(int(a), int(b)) for a, b in np.argwhere(np.triu(adjacency))]
    numbers = draw()
    for _ in range(SWAPS_PER_EDGE * len(edges)):
        first, second = next(numbers) % len(edges), next(numbers) % len(edges)
        (a, b), (c, d) = edges[first], edges[second]
        if next(numbers) % 2:
            c, d = d, c
        if len({a, b, c, d}) < 4 or swapped[a, d] or swapped[c, b]:  # noqa: PLR2004  # four ends
            continue
        for one, other, there in ((a, b, False), (c, d, False), (a, d, True), (c, b, True)):
            swapped[one, other] = swapped[other, one] = there
        edges[first], edges[second] = (a, d), (c, b)
    return swapped


def _draws(seed: int | Sequence[int]) -> Callable[[], Iterator[int]]:
    bits = np.random.PCG64(seed)

    def numbers() -> Iterator[int]:
        while True:
            # The high bits, which are the better ones.
            yield int(bits.random_raw()) >> 11

    return numbers
