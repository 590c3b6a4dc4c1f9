"""What one peer wastes on a node: the last three objectives.

A peer takes a share of its node: the largest of its shares of the free CPUs, memory and devices,
since that one runs out first. The same share of everything else is of no use to others.

- *Stranded memory*: that share of the node's memories (its own and its devices'), less what the
  peer itself uses. So CPU peers keep off GPU nodes, and a small peer off a large GPU.
- *Cost*: that share of the node's cost per hour.
- *Halvings*: how far the micro-batch is from the wanted one.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final, NamedTuple

from haversack_operator.api.memory import Candidate
from haversack_operator.api.names import NODE_COST_PER_HOUR

from .demand import PeerKind
from .fit import Room, memory_need

COST_UNIT: Final = Fraction(1, 10_000)
"""Of the currency that the node's label is in."""
MAX_COST: Final = 1_000_000
_MEBI: Final = 2**20


class Waste(NamedTuple):
    """Of one peer on one node."""

    stranded_mebibytes: int
    cost: int
    """In ``COST_UNIT`` per hour."""
    halvings: int


def waste_of(kind: PeerKind, room: Room, candidate: Candidate) -> Waste:
    """For a peer that fits."""
    share = _share(kind, room)
    on_devices = _device_memory(kind, room)
    total = room.memory_bytes + on_devices
    used = memory_need(kind, unified=room.unified) + _used_on_devices(kind, room, candidate)
    stranded = max(0, int(share * total) - used)
    wanted = kind.candidates[0].micro_batch_size
    return Waste(
        stranded_mebibytes=stranded // _MEBI,
        cost=int(share * _cost_per_hour(room) / COST_UNIT),
        halvings=(wanted // candidate.micro_batch_size).bit_length() - 1,
    )


def _share(kind: PeerKind, room: Room) -> Fraction:
    asked = [
        (kind.cpu_millis, room.cpu_millis),
        (memory_need(kind, unified=room.unified), room.memory_bytes),
    ]
    if kind.devices:
        asked.append((kind.devices.count, room.devices(kind.devices.resource_name)))
    return max(Fraction(need, free) if free else Fraction(0) for need, free in asked)


def _device_memory(kind: PeerKind, room: Room) -> int:
    """Memory of all free devices that is not the node's own."""
    if room.unified:
        return 0
    names = {kind.devices.resource_name} if kind.devices else room.node.allocatable.devices
    return sum((room.device_memory(name) or 0) * room.devices(name) for name in names)


def _used_on_devices(kind: PeerKind, room: Room, candidate: Candidate) -> int:
    """What of it the peer fills: its peak, else what it asked for, else all."""
    ask = kind.devices
    if room.unified or ask is None or not (whole := room.device_memory(ask.resource_name)):
        return 0
    return ask.count * (candidate.peak_bytes or ask.memory_bytes or whole)


def _cost_per_hour(room: Room) -> Fraction:
    """By the node's label; 0 where it is missing or makes no sense."""
    try:
        cost = Decimal(room.node.labels.get(NODE_COST_PER_HOUR, "0"))
    except InvalidOperation:
        return Fraction(0)
    return Fraction(cost) if cost.is_finite() and 0 <= cost <= MAX_COST else Fraction(0)
