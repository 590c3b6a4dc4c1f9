"""Small nodes and demands for the placement tests."""

from __future__ import annotations

from haversack_operator.api.job import Toleration
from haversack_operator.api.memory import Candidate
from haversack_operator.placement.demand import Demand, DeviceAsk, PeerKind
from haversack_operator.snapshot import Amounts, Node, Taint

GIB = 2**30
NOTHING = Amounts()


def a_node(
    name: str,
    *,
    cpu: int = 8,
    memory: int = 32,
    devices: int = 0,
    arch: str = "amd64",
    zone: str = "",
    labels: dict[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    ready: bool = True,
    cordoned: bool = False,
    used: Amounts = NOTHING,
) -> Node:
    """Memory in GiB."""
    zoned = {"topology.kubernetes.io/zone": zone} if zone else {}
    return Node(
        name=name,
        labels={"kubernetes.io/arch": arch, **zoned, **(labels or {})},
        allocatable=Amounts(
            cpu * 1000, memory * GIB, {"nvidia.com/gpu": devices} if devices else {}
        ),
        taints=taints,
        ready=ready,
        unschedulable=cordoned,
        used=used,
    )


def a_kind(
    pool: str = "cpu",
    *,
    first: int = 0,
    replicas: int = 1,
    minimum: int = 0,
    cpu: int = 2,
    memory: int = 4,
    devices: int = 0,
    device_memory: int = 0,
    arch: str | None = None,
    selector: dict[str, str] | None = None,
    tolerations: tuple[Toleration, ...] = (),
    candidates: tuple[Candidate, ...] = (Candidate(8, 0),),
) -> PeerKind:
    """Memory in GiB."""
    return PeerKind(
        pool=pool,
        first_peer=first,
        replicas=replicas,
        min=minimum,
        cpu_millis=cpu * 1000,
        memory_bytes=memory * GIB,
        candidates=candidates,
        devices=DeviceAsk("nvidia.com/gpu", devices, device_memory * GIB) if devices else None,
        architecture=arch,
        node_selector=selector or {},
        tolerations=tolerations,
    )


def a_demand(*kinds: PeerKind, gang: int = 1, ring: bool = True) -> Demand:
    return Demand(kinds, gang, ring)
