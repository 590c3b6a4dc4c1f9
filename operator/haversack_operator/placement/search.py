"""Local search on counts. Every step strictly improves the objectives and keeps all amounts in bounds.

- *insert*: one more peer where there is room for it.
- *eject*: a peer makes room for one of a kind that was left out, and finds another node.
- *move*, *swap*: less waste, without entering a zone that the kind is not in yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from .problem import Bools, Ints, Problem, more_that_fit

MAX_STEPS: Final = 2000
"""Each step is an improvement, so this only bounds the time."""


class Change(NamedTuple):
    """One peer more (``by`` = 1) or fewer (-1) of a kind on a node."""

    kind: int
    node: int
    by: int


Step = tuple[Change, ...]


def improve(problem: Problem, start: Ints) -> Ints:
    """A solution at least as good as ``start``."""
    counts = start.copy()
    for _ in range(MAX_STEPS):
        step = next(_steps(problem, counts), None)
        if step is None:
            break
        for change in step:
            counts[change.kind, change.node] += change.by
    return counts


def _steps(problem: Problem, counts: Ints) -> Iterator[Step]:
    left = problem.left(counts)
    open_for = _open(problem, counts, left)
    missing = np.flatnonzero(problem.want > counts.sum(axis=1)).tolist()
    for kind in missing:
        yield from _insert(problem, kind, open_for)
    for kind in missing:
        yield from _eject(problem, counts, left, open_for, kind)
    zones = problem.presence(counts)
    for kind in range(len(counts)):
        yield from _move(problem, counts, open_for[kind] & zones[kind, problem.zone_of], kind)
    for one, other in combinations(range(len(counts)), 2):
        yield from _swap(problem, counts, left, zones, (one, other))


def _open(problem: Problem, counts: Ints, left: Ints) -> Bools:
    """(K, N): is there room for one more."""
    return np.stack(
        [
            more_that_fit(left, problem.need[k], problem.capacity[k] - counts[k]) > 0
            for k in range(len(counts))
        ]
    )


def _least(problem: Problem, kind: int, nodes: Ints) -> int:
    """The node with the least waste."""
    return int(nodes[np.lexsort(problem.waste[::-1, kind, nodes])[0]])


def _insert(problem: Problem, kind: int, open_for: Bools) -> Iterator[Step]:
    nodes = np.flatnonzero(open_for[kind])
    if len(nodes):
        yield (Change(kind, _least(problem, kind, nodes), 1),)


def _eject(
    problem: Problem, counts: Ints, left: Ints, open_for: Bools, kind: int
) -> Iterator[Step]:
    for other in range(len(counts)):
        refuges = np.flatnonzero(open_for[other])
        if other == kind or not len(refuges):
            continue
        enough = (left + problem.need[other] >= problem.need[kind]).all(axis=1)
        vacated = (counts[other] > 0) & (problem.capacity[kind] > counts[kind]) & enough
        for node in np.flatnonzero(vacated).tolist():
            elsewhere = refuges[refuges != node]
            if len(elsewhere):
                refuge = _least(problem, other, elsewhere)
                yield Change(other, node, -1), Change(other, refuge, 1), Change(kind, node, 1)


def _move(problem: Problem, counts: Ints, targets: Bools, kind: int) -> Iterator[Step]:
    """The most wasteful peer of a kind goes to the least wasteful node with room."""
    sources, nodes = np.flatnonzero(counts[kind]), np.flatnonzero(targets)
    if not len(sources) or not len(nodes):
        return
    worst = int(sources[np.lexsort(problem.waste[::-1, kind, sources])[-1]])
    best = _least(problem, kind, nodes)
    if tuple(problem.waste[:, kind, best]) < tuple(problem.waste[:, kind, worst]):
        yield Change(kind, worst, -1), Change(kind, best, 1)


def _swap(
    problem: Problem, counts: Ints, left: Ints, zones: Bools, pair: tuple[int, int]
) -> Iterator[Step]:
    """Two peers of different kinds change places, if that is possible and wastes less."""
    one, other = pair
    here, there = np.flatnonzero(counts[one]), np.flatnonzero(counts[other])
    need = problem.need
    fits_here = (left[here] + need[one, here] - need[other, here] >= 0).all(axis=1)
    fits_there = (left[there] + need[other, there] - need[one, there] >= 0).all(axis=1)
    fits_here &= (problem.capacity[other, here] > 0) & zones[other, problem.zone_of[here]]
    fits_there &= (problem.capacity[one, there] > 0) & zones[one, problem.zone_of[there]]
    here, there = here[fits_here], there[fits_there]
    if not len(here) or not len(there):
        return
    waste = problem.waste
    gain_here = waste[:, other, here] - waste[:, one, here]
    gain_there = waste[:, one, there] - waste[:, other, there]
    # What changes on one node does not depend on the other, so the best pair is the two best.
    first, second = np.lexsort(gain_here[::-1])[0], np.lexsort(gain_there[::-1])[0]
    total = tuple(gain_here[:, first] + gain_there[:, second])
    if here[first] != there[second] and total < (0, 0, 0):
        a, b = int(here[first]), int(there[second])
        yield Change(one, a, -1), Change(other, a, 1), Change(other, b, -1), Change(one, b, 1)
