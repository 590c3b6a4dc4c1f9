"""Best-fit from several starts, then local search. Always there, and what the exact solver starts from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from .problem import Ints, Problem, Score, more_that_fit
from .ring import crossings
from .search import improve

MAX_ZONE_STARTS: Final = 16


def score(problem: Problem, counts: Ints) -> Score:
    """All objectives of a solution."""
    stranded, cost, halvings = np.einsum("okn,kn->o", problem.waste, counts).tolist()
    return Score(
        left_out=int(problem.want.sum() - counts.sum()),
        crossings=crossings(problem.presence(counts), ring=problem.demand.ring),
        stranded_mebibytes=stranded,
        cost=cost,
        halvings=halvings,
    )


def solve(problem: Problem) -> Ints:
    """The best of all starts, improved. It may miss the gang's minimum where an exact one does not."""
    starts = [
        _fill(problem, order, zones)
        for order in _kind_orders(problem)
        for zones in _zone_orders(problem)
    ]
    best = min(starts, key=lambda counts: _key(problem, counts))
    return min(best, improve(problem, best), key=lambda counts: _key(problem, counts))


def _key(problem: Problem, counts: Ints) -> tuple[bool, Score]:
    return not problem.satisfies_gang(counts), score(problem, counts)


def _kind_orders(problem: Problem) -> Iterator[Ints]:
    """Scarcest kind first, and smallest kind first."""
    supply = problem.capacity.sum(axis=1) / np.maximum(problem.want, 1)
    yield np.argsort(supply, kind="stable")
    size = problem.need.mean(axis=1) / np.maximum(problem.free.sum(axis=0), 1)
    yield np.argsort(size.max(axis=1), kind="stable")


def _zone_orders(problem: Problem) -> Iterator[Ints]:
    """(N) ranks of the nodes' zones: each zone in turn first, the rest by room; and no preference."""
    yield np.zeros_like(problem.zone_of)
    supply = np.bincount(problem.zone_of, weights=problem.capacity.sum(axis=0))
    supply = supply + 1e6 * problem.kept_zones.any(axis=0)
    by_room = np.argsort(-supply, kind="stable")
    for first in by_room[:MAX_ZONE_STARTS]:
        rank = np.empty(len(by_room), np.int64)
        rank[[first, *by_room[by_room != first]]] = np.arange(len(by_room))
        yield rank[problem.zone_of]


def _fill(problem: Problem, order: Ints, zone_rank: Ints) -> Ints:
    """The pools' minima first, then as many as fit; each kind on its least wasteful nodes."""
    counts = np.zeros_like(problem.capacity)
    left = problem.free.copy()
    for goal in (problem.floor, problem.want):
        for k in order:
            rank = np.lexsort((*problem.waste[::-1, k], zone_rank))
            room = more_that_fit(left, problem.need[k], problem.capacity[k] - counts[k])[rank]
            missing = goal[k] - counts[k].sum()
            before = np.cumsum(room) - room
            added = np.zeros_like(room)
            added[rank] = np.clip(missing - before, 0, room)
            counts[k] += added
            left -= added[:, None] * problem.need[k]
    return counts
