"""Does one peer fit one node, with which micro-batch, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from haversack_operator.api.job import Toleration
from haversack_operator.api.memory import Candidate
from haversack_operator.api.names import NODE_ACCELERATOR_MEMORY, NODE_UNIFIED_MEMORY
from haversack_operator.api.quantity import QuantityError, to_bytes
from haversack_operator.snapshot import Node, Taint

from .demand import PeerKind

ARCH_LABEL: Final = "kubernetes.io/arch"
GFD_MEMORY: Final = "{resource}.memory"
"""Per device, in MiB, as written by NVIDIA's GPU feature discovery; a MIG slice has its own."""
GFD_REPLICAS: Final = "{resource}.replicas"
"""Time-slicing multiplies devices, not their memory."""
UNIFIED_HEADROOM_PERCENT: Final = 15
"""Part of a unified memory that CUDA, display and system need beside the pods."""
_CORDONED: Final = Taint("node.kubernetes.io/unschedulable", "NoSchedule")


class Obstacle(Enum):
    """Why a node does not do, the most fundamental first."""

    NOT_READY = auto()
    CLOSED = auto()
    ARCHITECTURE = auto()
    SELECTOR = auto()
    TAINT = auto()
    DEVICES = auto()
    DEVICE_MEMORY_UNKNOWN = auto()
    DEVICE_MEMORY = auto()
    MICRO_BATCH = auto()
    CPU = auto()
    MEMORY = auto()


@dataclass(frozen=True, slots=True)
class Misfit:
    """One obstacle, with what the node has and what the peer asks (numbers in base units)."""

    obstacle: Obstacle
    have: int | str = ""
    want: int | str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """What a node has left for the job's peers, read from the node once."""

    node: Node
    cpu_millis: int
    memory_bytes: int
    unified: bool

    def device_memory(self, resource_name: str) -> int | None:
        """Of one device; None when nobody labelled it."""
        labelled = _labelled_memory(self.node, resource_name)
        if self.unified:
            return min(self.memory_bytes, labelled or self.memory_bytes)
        return labelled

    def devices(self, resource_name: str) -> int:
        have = self.node.allocatable.devices.get(resource_name, 0)
        return max(0, have - self.node.used.devices.get(resource_name, 0))


def room_of(node: Node) -> Room:
    """What is left on a node. On unified memory (Jetson) some is kept back."""
    unified = node.labels.get(NODE_UNIFIED_MEMORY) == "true"
    total = node.allocatable.memory_bytes
    usable = total - total * UNIFIED_HEADROOM_PERCENT // 100 if unified else total
    return Room(
        node=node,
        cpu_millis=max(0, node.allocatable.cpu_millis - node.used.cpu_millis),
        memory_bytes=max(0, usable - node.used.memory_bytes),
        unified=unified,
    )


def memory_need(kind: PeerKind, *, unified: bool) -> int:
    """Bytes of the node's memory that a peer takes."""
    on_device = kind.devices.memory_bytes if kind.devices and unified else 0
    return max(kind.memory_bytes, on_device)


def misfits(kind: PeerKind, room: Room) -> tuple[Misfit, ...]:
    """Everything that keeps one peer off an otherwise empty node; empty if it fits."""
    return (*_by_label(kind, room.node), *_by_device(kind, room), *_by_amount(kind, room))


def choose(kind: PeerKind, room: Room) -> Candidate | None:
    """The largest micro-batch whose peak fits; the limits do not depend on who else is there."""
    limit = _peak_limit(kind, room)
    return next((one for one in kind.candidates if limit is None or one.peak_bytes <= limit), None)


def tolerated(taint: Taint, tolerations: tuple[Toleration, ...]) -> bool:
    """As kube-scheduler sees it (core/v1 ``Toleration``)."""
    return taint.effect == "PreferNoSchedule" or any(_tolerates(one, taint) for one in tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in (None, taint.effect):
        return False
    if toleration.operator == "Exists":
        return toleration.key in (None, "", taint.key)
    return toleration.key == taint.key and (toleration.value or "") == taint.value


def _by_label(kind: PeerKind, node: Node) -> Iterator[Misfit]:
    if not node.ready:
        yield Misfit(Obstacle.NOT_READY)
    if node.closed:
        yield Misfit(Obstacle.CLOSED, node.closed)
    arch = node.labels.get(ARCH_LABEL, "unknown")
    if kind.architecture not in (None, arch):
        yield Misfit(Obstacle.ARCHITECTURE, arch, kind.architecture or "")
    for key, value in sorted((kind.node_selector or {}).items()):
        if node.labels.get(key) != value:
            yield Misfit(Obstacle.SELECTOR, "", f"{key}={value}")
            break
    for taint in (*node.taints, *((_CORDONED,) if node.unschedulable else ())):
        if not tolerated(taint, kind.tolerations):
            value = f"={taint.value}" if taint.value else ""
            yield Misfit(Obstacle.TAINT, f"{taint.key}{value}:{taint.effect}")
            break


def _by_device(kind: PeerKind, room: Room) -> Iterator[Misfit]:
    ask = kind.devices
    if ask is None:
        return
    if (free := room.devices(ask.resource_name)) < ask.count:
        yield Misfit(Obstacle.DEVICES, free, ask.count)
    have = room.device_memory(ask.resource_name)
    if have is None:
        if ask.memory_bytes:
            yield Misfit(Obstacle.DEVICE_MEMORY_UNKNOWN)
    elif not room.unified and have < ask.memory_bytes:
        yield Misfit(Obstacle.DEVICE_MEMORY, have, ask.memory_bytes)


def _by_amount(kind: PeerKind, room: Room) -> Iterator[Misfit]:
    if choose(kind, room) is None:
        limit = _peak_limit(kind, room)
        yield Misfit(Obstacle.MICRO_BATCH, limit or 0, kind.candidates[-1].peak_bytes)
    if room.cpu_millis < kind.cpu_millis:
        yield Misfit(Obstacle.CPU, room.cpu_millis, kind.cpu_millis)
    need = memory_need(kind, unified=room.unified)
    if room.memory_bytes < need:
        yield Misfit(Obstacle.MEMORY, room.memory_bytes, need)


def _peak_limit(kind: PeerKind, room: Room) -> int | None:
    """Bytes that a step may take: the device's memory, or the pod's limit where memory is one."""
    if kind.devices is None or room.unified:
        return kind.memory_bytes
    return room.device_memory(kind.devices.resource_name)


def _labelled_memory(node: Node, resource: str) -> int | None:
    """The administrator's word, else what was found out about this very resource."""
    found = GFD_MEMORY.format(resource=resource)
    try:
        if NODE_ACCELERATOR_MEMORY in node.labels:
            return to_bytes(node.labels[NODE_ACCELERATOR_MEMORY])
        if found in node.labels:
            replicas = node.labels.get(GFD_REPLICAS.format(resource=resource), "1")
            return int(node.labels[found]) * 2**20 // max(1, int(replicas))
    except (QuantityError, ValueError):
        # A label that makes no sense says nothing.
        return None
    return None
