"""The integer program of a placement: how many peers of each kind go to each class of nodes.

Columns: peers of kind k in class c; and, if there are several zones, whether pool p is in zone z
and whether the run of zones of pool p ends in the zone where that of the next begins (``ring``).
A pool without peers may pass a run through for nothing, so that its neighbours meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .milp import INFINITY, Model
from .problem import Ints, Problem
from .ring import runs


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A model, what its columns mean, and the objectives as cost vectors."""

    problem: Problem
    classes: Sequence[Ints]
    kind: Ints
    """(X): kind of each peer column."""
    place: Ints
    """(X): its class."""
    zoned: bool
    model: Model
    costs: tuple[Ints, ...]
    """In the order of ``Score``; the first counts placed peers negatively."""

    def totals(self, values: Ints) -> list[Ints]:
        """(K) peers of each kind, by class."""
        found = np.zeros((len(self.classes), len(self.problem.want)), np.int64)
        found[self.place, self.kind] = values[: len(self.kind)]
        return list(found)

    def start(self, counts: Ints) -> Ints:
        """The columns' values in a solution."""
        peers = np.array(
            [counts[k, self.classes[c]].sum() for k, c in zip(self.kind, self.place, strict=True)],
            np.int64,
        )
        if not self.zoned:
            return peers
        presence = self.problem.presence(counts)
        if not self.problem.demand.ring:
            return np.concatenate([peers, presence.any(axis=0).astype(np.int64)])
        return np.concatenate([peers, *_ring_start(self.problem, counts)])


def formulate(problem: Problem, classes: Sequence[Ints]) -> Program:
    """The program for these classes."""
    first = np.array([nodes[0] for nodes in classes], np.int64)
    size = np.array([len(nodes) for nodes in classes], np.int64)
    kind, place = np.nonzero(problem.capacity[:, first])
    most = np.minimum(problem.want[kind], problem.capacity[kind, first[place]] * size[place])
    zones = _zone_columns(problem)
    model = Model(
        lower=np.concatenate([np.zeros(len(kind), np.int64), zones[0]]),
        upper=np.concatenate([most, zones[1]]),
    )
    _bound_amounts(problem, model, classes, kind, place)
    _bound_peers(problem, model, kind)
    crossing = np.zeros(len(model.upper), np.int64)
    if len(zones[0]):
        zone = problem.zone_of[first[place]]
        crossing = (_ring_rows if problem.demand.ring else _zone_rows)(problem, model, kind, zone)
    waste = problem.waste[:, kind, first[place]]
    padding = np.zeros(len(zones[0]), np.int64)
    costs = (
        np.concatenate([-np.ones(len(kind), np.int64), padding]),
        crossing,
        *(np.concatenate([one, padding]) for one in waste),
    )
    return Program(problem, classes, kind, place, bool(len(zones[0])), model, costs)


def _zone_columns(problem: Problem) -> tuple[Ints, Ints]:
    """Lower and upper bounds of the columns that are about zones; none when there is one zone."""
    num_pools, num_zones = problem.kept_zones.shape
    if num_zones == 1:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if not problem.demand.ring:
        taken = np.asarray(problem.kept_zones.any(axis=0), np.int64)
        return taken, np.ones(num_zones, np.int64)
    size = num_pools * num_zones
    lower = np.concatenate([problem.kept_zones.ravel(), np.zeros(size, bool)])
    return lower.astype(np.int64), np.ones(2 * size, np.int64)


def _bound_amounts(
    problem: Problem, model: Model, classes: Sequence[Ints], kind: Ints, place: Ints
) -> None:
    """What a class holds in all. That each node holds its part is seen to by ``classes.spread``."""
    for c, nodes in enumerate(classes):
        columns = np.flatnonzero(place == c)
        need = problem.need[kind[columns], nodes[0]]
        have = problem.free[nodes[0]] * len(nodes)
        tight = (need * model.upper[columns][:, None]).sum(axis=0) > have
        for r in np.flatnonzero(tight):
            model.add(columns, need[:, r], -INFINITY, float(have[r]))


def _bound_peers(problem: Problem, model: Model, kind: Ints) -> None:
    for k in range(len(problem.want)):
        columns = np.flatnonzero(kind == k)
        model.add(
            columns,
            np.ones(len(columns), np.int64),
            float(problem.floor[k]),
            float(problem.want[k]),
        )
    columns = np.arange(len(kind))
    model.add(columns, np.ones_like(columns), float(problem.total_floor), INFINITY)


def _opens(model: Model, columns: Ints, switch: int, most: int) -> None:
    """Peers in ``columns``, at most ``most``, only where the 0/1 column ``switch`` is 1."""
    if len(columns):
        most = min(most, int(model.upper[columns].sum()))
        ones = np.ones(len(columns), np.int64)
        model.add([*columns, switch], [*ones, -most], -INFINITY, 0.0)


def _zone_rows(problem: Problem, model: Model, kind: Ints, zone: Ints) -> Ints:
    """Zones in use."""
    for z in range(len(problem.zones)):
        _opens(model, np.flatnonzero(zone == z), len(kind) + z, int(problem.want.sum()))
    cost = np.zeros(len(model.upper), np.int64)
    cost[len(kind) :] = 1
    return cost


def _ring_rows(problem: Problem, model: Model, kind: Ints, zone: Ints) -> Ints:
    """Crossings are the zones that pools are in, less the boundaries without one.

    A zone can end one run and begin the next only once per pool, unless it is the pool's only one.
    """
    num_pools, num_zones = problem.kept_zones.shape
    size = num_pools * num_zones
    inside = np.arange(size).reshape(num_pools, num_zones) + len(kind)
    meets = inside + size
    for p in range(num_pools):
        following = (p + 1) % num_pools
        model.add(inside[p], np.ones(num_zones, np.int64), 1.0, INFINITY)
        model.add(meets[p], np.ones(num_zones, np.int64), 0.0, 1.0)
        for z in range(num_zones):
            peers = np.flatnonzero((kind == p) & (zone == z))
            _opens(model, peers, int(inside[p, z]), int(problem.want[p]))
            for pool in {p, following}:
                model.add([meets[p, z], inside[pool, z]], [1, -1], -INFINITY, 0.0)
            others = np.delete(inside[following], z)
            _ends(model, meets[p, z], meets[following, z], others, num_zones)
    cost = np.zeros(len(model.upper), np.int64)
    cost[inside], cost[meets] = 1, -1
    return cost


def _ends(model: Model, before: int, after: int, others: Ints, num_zones: int) -> None:
    if before == after:
        columns, weights = [before], [2 * num_zones]
    else:
        columns, weights = [before, after], [num_zones, num_zones]
    ones = [1] * len(others)
    model.add([*columns, *others], [*weights, *ones], -INFINITY, 2.0 * num_zones)


def _ring_start(problem: Problem, counts: Ints) -> tuple[Ints, Ints]:
    """Which pool is in which zone, and where neighbours meet; empty pools pass a run through."""
    ways = runs(problem.presence(counts))
    last = next((way[-1] for way in reversed(ways) if way), 0)
    inside = np.zeros(problem.kept_zones.shape, np.int64)
    meets = np.zeros_like(inside)
    for p, way in enumerate(ways):
        passed = way or (last,)
        inside[p, list(passed)] = 1
        if passed[0] == last:
            meets[p - 1, last] = 1
        last = passed[-1]
    return inside.ravel(), meets.ravel()
