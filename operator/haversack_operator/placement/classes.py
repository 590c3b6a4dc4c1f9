"""Nodes that are alike, treated as one until that no longer works."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .problem import Ints, Problem, more_that_fit


def group(problem: Problem, apart: Collection[int] = ()) -> list[Ints]:
    """Nodes that can hold a peer, by class; nodes in ``apart`` are classes of their own.

    What a node has beyond all that is asked for makes no difference.
    """
    most = (problem.want[:, None, None] * problem.need).sum(axis=0)
    free = np.minimum(problem.free, most)
    found: dict[tuple[bytes, ...], list[int]] = {}
    for n in np.flatnonzero(problem.capacity.any(axis=0)).tolist():
        key = (
            n.to_bytes(8) if n in apart else b"",
            problem.zone_of[n].tobytes(),
            free[n].tobytes(),
            problem.need[:, n].tobytes(),
            problem.capacity[:, n].tobytes(),
            problem.waste[:, :, n].tobytes(),
        )
        found.setdefault(key, []).append(n)
    return [np.array(nodes, np.int64) for nodes in found.values()]


def spread(problem: Problem, nodes: Ints, totals: Ints) -> Ints | None:
    """A class's peers (K) on its single nodes (K, len(nodes)), or None where first-fit fails.

    Largest kinds first: a class's summed amounts may hold what its nodes one by one cannot.
    """
    counts = np.zeros((len(totals), len(nodes)), np.int64)
    left = problem.free[nodes]
    share = (problem.need[:, nodes[0]] / np.maximum(left[0], 1)).max(axis=1)
    for k in np.argsort(-share, kind="stable"):
        need = problem.need[k, nodes]
        room = more_that_fit(left, need, problem.capacity[k, nodes])
        counts[k] = np.clip(totals[k] - (np.cumsum(room) - room), 0, room)
        if counts[k].sum() < totals[k]:
            return None
        left -= counts[k][:, None] * need
    return counts
