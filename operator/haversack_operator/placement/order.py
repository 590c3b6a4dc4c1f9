"""Counts to peers: who of a pool goes where, so that neighbours on the ring share a zone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from haversack_operator.snapshot import Assignment

from .demand import PeerKind
from .problem import Ints, Problem
from .ring import Run, num_crossings, runs


def in_order(problem: Problem, counts: Ints) -> tuple[Assignment, ...]:
    """All peers that have a place, kept ones included. A pool leaves out its last ordinals."""
    kept = {one.peer: one for one in problem.kept}
    found: list[Assignment] = []
    ways = runs(problem.presence(counts))
    for k, way in enumerate(ways):
        found += _pool(problem, k, _by_zone(problem, counts[k]), way, kept)
    return tuple(found)


def crossings(problem: Problem, assignments: tuple[Assignment, ...]) -> int:
    """As in ``Score``, but of peers with ordinals."""
    zone_of = {
        room.node.name: int(zone) for room, zone in zip(problem.rooms, problem.zone_of, strict=True)
    }
    zones = [zone_of[one.node] for one in assignments]
    return num_crossings(zones) if problem.demand.ring else max(0, len(set(zones)) - 1)


def _by_zone(problem: Problem, counts: Ints) -> dict[int, deque[int]]:
    """Nodes of one kind's peers by zone, a node as often as it holds peers."""
    found: dict[int, deque[int]] = {}
    for n in np.repeat(np.arange(len(counts)), counts).tolist():
        found.setdefault(int(problem.zone_of[n]), deque()).append(n)
    return found


def _pool(
    problem: Problem,
    k: int,
    by_zone: Mapping[int, deque[int]],
    way: Run,
    kept: Mapping[int, Assignment],
) -> list[Assignment]:
    """Along the ordinals: stay in a zone while it lasts, then the next of the run."""
    kind = problem.demand.kinds[k]
    zone_of = {
        room.node.name: int(zone) for room, zone in zip(problem.rooms, problem.zone_of, strict=True)
    }
    found: list[Assignment] = []
    zone = way[0] if way else -1
    for peer in kind.peers:
        if peer in kept:
            found.append(kept[peer])
            zone = zone_of[kept[peer].node]
            continue
        if not by_zone.get(zone):
            zone = next((one for one in way if by_zone.get(one)), -1)
        if zone >= 0:
            found.append(_placed(problem, k, kind, peer, by_zone[zone].popleft()))
    return found


def _placed(problem: Problem, k: int, kind: PeerKind, peer: int, node: int) -> Assignment:
    return Assignment(
        peer=peer,
        pool=kind.pool,
        node=problem.rooms[node].node.name,
        micro_batch_size=problem.choice[k, node].micro_batch_size,
    )
