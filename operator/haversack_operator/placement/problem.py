"""Demand and nodes as arrays. Shapes: K kinds, N nodes (by name), R resources, Z zones.

Peers of a kind are alike, so a solution is a matrix of counts, ``counts[k, n]``; ``ring`` turns
counts into ordinals afterwards. Resources are in units of the greatest common divisor of what is
asked of them: sums of needs stay exact and small, and nodes that differ by less become alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from haversack_operator.api.memory import Candidate
from haversack_operator.api.names import NODE_ZONE
from haversack_operator.snapshot import Amounts, Assignment, Node

from .demand import Demand, PeerKind
from .fit import Room, choose, memory_need, misfits, room_of
from .hub import homes
from .waste import waste_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
NOTHING_HELD: Final[Mapping[int, Amounts]] = {}


class Score(NamedTuple):
    """A solution's objectives, smaller is better; compared in this order."""

    left_out: int
    crossings: int
    stranded_mebibytes: int
    cost: int
    halvings: int


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What the solvers see. Peers that are kept in place are already taken off."""

    demand: Demand
    rooms: tuple[Room, ...]
    zones: tuple[str, ...]
    zone_of: Ints
    """(N) index into ``zones``."""
    free: Ints
    """(N, R)"""
    need: Ints
    """(K, N, R); unified memory makes it depend on the node."""
    capacity: Ints
    """(K, N): peers of this kind alone that fit the node."""
    choice: Mapping[tuple[int, int], Candidate]
    """(k, n) to the micro-batch."""
    waste: Ints
    """(3, K, N): what one peer costs in each of the last three objectives."""
    want: Ints
    """(K): peers yet to place."""
    floor: Ints
    """(K): fewest of them, by the pools' minima."""
    total_floor: int
    """Fewest over all kinds, by the gang's minimum."""
    hub_node: str | None
    """Where room for the hub is taken off."""
    hub_instead: int
    """Peers for which that node has no room any more."""
    kept: tuple[Assignment, ...]
    kept_zones: Bools
    """(K, Z): where kept peers are."""

    def presence(self, counts: Ints) -> Bools:
        """(K, Z): which kinds are in which zones."""
        found = self.kept_zones.copy()
        kinds, nodes = np.nonzero(counts)
        found[kinds, self.zone_of[nodes]] = True
        return found

    def left(self, counts: Ints) -> Ints:
        """(N, R): what is free beside ``counts``."""
        taken: Ints = np.einsum("kn,knr->nr", counts, self.need)
        return self.free - taken

    def satisfies_gang(self, counts: Ints) -> bool:
        placed = counts.sum(axis=1)
        return bool((placed >= self.floor).all() and placed.sum() >= self.total_floor)


def more_that_fit(left: Ints, need: Ints, capacity: Ints) -> Ints:
    """(N): further peers of one kind that fit; ``need`` (N, R), ``capacity`` (N) as if empty."""
    per_resource = np.where(need > 0, left // np.maximum(need, 1), np.iinfo(np.int64).max)
    fits: Ints = np.minimum(capacity, per_resource.min(axis=1))
    return fits


def build(
    demand: Demand,
    nodes: Sequence[Node],
    keep: Sequence[Assignment],
    held: Mapping[int, Amounts] = NOTHING_HELD,
    hub_turn: int = 0,
) -> Problem:
    """The arrays, with the hub on its best node or on one of the next. Kept peers whose node is
    gone, or whose pool is another now, are placed anew."""
    rooms = tuple(room_of(node) for node in sorted(nodes, key=lambda node: node.name))
    kinds = demand.kinds
    kept = _still_there(kinds, rooms, keep)
    zones, zone_of = _zones(rooms)
    free, need = _amounts(kinds, rooms, kept, held)
    num_kept = np.array([sum(one.pool == kind.pool for one in kept) for kind in kinds], np.int64)
    want = np.array([kind.replicas for kind in kinds], np.int64) - num_kept
    floor = np.array([min(kind.min, kind.replicas) for kind in kinds], np.int64) - num_kept
    choice = _choices(kinds, rooms)
    allowed = _allowed(choice, want, need)
    hub, instead = _with_hub(demand.hub, rooms, free, need, allowed, turn=hub_turn)
    free, need = _in_units(free, need)
    return Problem(
        demand=demand,
        rooms=rooms,
        zones=zones,
        zone_of=zone_of,
        free=free,
        need=need,
        capacity=_capacity(allowed, free, need),
        choice=choice,
        waste=_waste(kinds, rooms, choice),
        want=want,
        floor=np.maximum(floor, 0),
        total_floor=max(0, demand.min_peers - len(kept)),
        hub_node=None if hub is None else rooms[hub].node.name,
        hub_instead=instead,
        kept=kept,
        kept_zones=_kept_zones(kinds, rooms, zone_of, kept),
    )


def _still_there(
    kinds: Sequence[PeerKind], rooms: Sequence[Room], keep: Sequence[Assignment]
) -> tuple[Assignment, ...]:
    names = {room.node.name for room in rooms}
    pool_of = {peer: kind.pool for kind in kinds for peer in kind.peers}
    there = {
        one.peer: one for one in keep if one.node in names and pool_of.get(one.peer) == one.pool
    }
    return tuple(there[peer] for peer in sorted(there))


def _zones(rooms: Sequence[Room]) -> tuple[tuple[str, ...], Ints]:
    names = [room.node.labels.get(NODE_ZONE, "") for room in rooms]
    zones, zone_of = np.unique(names, return_inverse=True)
    return tuple(str(zone) for zone in zones), zone_of.astype(np.int64)


def _amounts(
    kinds: Sequence[PeerKind],
    rooms: Sequence[Room],
    kept: Sequence[Assignment],
    held: Mapping[int, Amounts],
) -> tuple[Ints, Ints]:
    """Free (N, R) beside the kept peers, and needed (K, N, R)."""
    resources = sorted({kind.devices.resource_name for kind in kinds if kind.devices})
    free = np.array(
        [
            [room.cpu_millis, room.memory_bytes, *(room.devices(name) for name in resources)]
            for room in rooms
        ],
        np.int64,
    )
    need = np.array([[_need(kind, room, resources) for room in rooms] for kind in kinds], np.int64)
    kind_of = {kind.pool: kind for kind in kinds}
    column = {room.node.name: n for n, room in enumerate(rooms)}
    for one in kept:
        n = column[one.node]
        kind, amounts = kind_of[one.pool], held.get(one.peer)
        free[n] -= (
            _need(kind, rooms[n], resources)
            if amounts is None
            else _held(kind, amounts, rooms[n], resources)
        )
    return np.maximum(free, 0), need


def _in_units(free: Ints, need: Ints) -> tuple[Ints, Ints]:
    """In units of the common divisor of what is needed."""
    units = np.array([max(1, gcd(*np.unique(amounts).tolist())) for amounts in need.T], np.int64)
    return free // units, need // units


def _with_hub(
    hub: PeerKind | None,
    rooms: Sequence[Room],
    free: Ints,
    need: Ints,
    allowed: Ints,
    *,
    turn: int,
) -> tuple[int | None, int]:
    """Take the hub's room off ``free``: of which node, if it needs and finds one, and instead of
    how many peers."""
    if hub is None:
        return None, 0
    asked = np.zeros_like(free[0])
    asked[:2] = hub.cpu_millis, hub.memory_bytes
    beside = np.maximum(free - asked, 0)
    lost = (_capacity(allowed, free, need) - _capacity(allowed, beside, need)).sum(axis=0)
    found = next(iter(homes(hub, rooms, free, lost)[turn:]), None)
    if found is None:
        return None, 0
    free[found] -= asked
    return found, int(lost[found])


def _need(kind: PeerKind, room: Room, resources: Sequence[str]) -> list[int]:
    ask = kind.devices
    counts = [ask.count if ask and ask.resource_name == name else 0 for name in resources]
    return [kind.cpu_millis, memory_need(kind, unified=room.unified), *counts]


def _held(kind: PeerKind, amounts: Amounts, room: Room, resources: Sequence[str]) -> list[int]:
    """What a kept peer's pod asks, which was made when the spec may have asked something else."""
    memory = memory_need(replace(kind, memory_bytes=amounts.memory_bytes), unified=room.unified)
    counts = [amounts.devices.get(name, 0) for name in resources]
    return [amounts.cpu_millis, memory, *counts]


def _choices(kinds: Sequence[PeerKind], rooms: Sequence[Room]) -> dict[tuple[int, int], Candidate]:
    return {
        (k, n): candidate
        for k, kind in enumerate(kinds)
        for n, room in enumerate(rooms)
        if not misfits(kind, room) and (candidate := choose(kind, room))
    }


def _allowed(choice: Mapping[tuple[int, int], Candidate], want: Ints, need: Ints) -> Ints:
    """(K, N): peers of a kind that may be on a node, whether there is room or not."""
    allowed = np.zeros(need.shape[:2], np.int64)
    for k, n in choice:
        allowed[k, n] = want[k]
    return allowed


def _capacity(allowed: Ints, free: Ints, need: Ints) -> Ints:
    return np.stack([more_that_fit(free, need[k], allowed[k]) for k in range(len(need))])


def _waste(
    kinds: Sequence[PeerKind],
    rooms: Sequence[Room],
    choice: Mapping[tuple[int, int], Candidate],
) -> Ints:
    waste = np.zeros((3, len(kinds), len(rooms)), np.int64)
    for (k, n), candidate in choice.items():
        waste[:, k, n] = waste_of(kinds[k], rooms[n], candidate)
    return waste


def _kept_zones(
    kinds: Sequence[PeerKind], rooms: Sequence[Room], zone_of: Ints, kept: Sequence[Assignment]
) -> Bools:
    row = {kind.pool: k for k, kind in enumerate(kinds)}
    zone = {room.node.name: zone_of[n] for n, room in enumerate(rooms)}
    found = np.zeros((len(kinds), int(zone_of.max()) + 1), bool)
    for one in kept:
        found[row[one.pool], zone[one.node]] = True
    return found
