"""Zones around the ring: how peers of like kind are ordered so that few neighbours are apart.

Pools follow one another on the ring, and inside a pool the ordinals are free to choose. So the
best order visits each of a pool's zones once, in one run, and starts where the pool before ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .problem import Bools

Run = tuple[int, ...]
"""One pool's zones, in the order that its peers visit them."""


def crossings(presence: Bools, *, ring: bool) -> int:
    """Fewest steps of the ring between two zones, given which pools (K) are in which zones (Z).

    Without a ring everybody exchanges with everybody: then it is the number of zones beyond one.
    """
    if not ring:
        return max(0, int(presence.any(axis=0).sum()) - 1)
    return num_crossings([zone for run in runs(presence) for zone in run])


def num_crossings(zones: Sequence[int]) -> int:
    """Steps between two zones on the way once around."""
    return sum(one != other for one, other in pairwise([*zones, *zones[:1]]))


def runs(presence: Bools) -> list[Run]:
    """The best order of each pool's zones; an empty run for a pool without peers."""
    present = [tuple(np.flatnonzero(row).tolist()) for row in presence]
    filled = [zones for zones in present if zones]
    if not filled:
        return [() for _ in present]
    best = min((_from(first, filled) for first in filled[0]), key=lambda way: (way[0], way[1]))
    in_order = iter(best[1])
    return [next(in_order) if zones else () for zones in present]


def _from(first: int, pools: Sequence[Run]) -> tuple[int, list[Run]]:
    """Crossings and runs of the best way that starts in zone ``first``: shortest path by pool."""
    ways = {run[-1]: (len(run) - 1, [run]) for run in _orders(pools[0]) if run[0] == first}
    for zones in pools[1:]:
        following: dict[int, tuple[int, list[Run]]] = {}
        for run in _orders(zones):
            cost, way = min(
                ((cost + (last != run[0]), way) for last, (cost, way) in sorted(ways.items())),
                key=lambda found: found[0],
            )
            cost += len(run) - 1
            if run[-1] not in following or cost < following[run[-1]][0]:
                following[run[-1]] = (cost, [*way, run])
        ways = following
    return min(
        ((cost + (last != first), way) for last, (cost, way) in sorted(ways.items())),
        key=lambda found: found[0],
    )


def _orders(zones: Run) -> list[Run]:
    """One order for each pair of first and last zone."""
    if len(zones) == 1:
        return [zones]
    return [
        (first, *(zone for zone in zones if zone not in (first, last)), last)
        for first in zones
        for last in zones
        if first != last
    ]
