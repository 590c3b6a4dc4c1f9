"""What a job asks of placement: kinds of peers, how many of each, and the fewest to start with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from haversack_operator.api.job import JobSpec, Pool, Toleration
from haversack_operator.api.memory import Candidate, candidates
from haversack_operator.api.processes import num_processes
from haversack_operator.api.quantity import to_bytes, to_millis
from haversack_trainer.contract.cards import METHODS

HUB_REQUESTS: Final[Mapping[str, str]] = {"cpu": "100m", "memory": "512Mi"}


@dataclass(frozen=True, slots=True)
class DeviceAsk:
    """What one peer asks of its node's accelerators."""

    resource_name: str
    count: int
    memory_bytes: int
    """Memory that each device must have; 0 for any."""


@dataclass(frozen=True, slots=True)
class PeerKind:
    """The peers of one pool; they differ in nothing but their ordinal."""

    pool: str
    first_peer: int
    """Ordinal of the pool's first peer."""
    replicas: int
    min: int
    cpu_millis: int
    memory_bytes: int
    """Request and limit."""
    candidates: tuple[Candidate, ...]
    """Wanted micro-batch first, then smaller ones."""
    processes: int = 1
    """Of each peer."""
    devices: DeviceAsk | None = None
    architecture: str | None = None
    node_selector: Mapping[str, str] | None = None
    tolerations: tuple[Toleration, ...] = ()

    @property
    def peers(self) -> range:
        """Their ordinals."""
        return range(self.first_peer, self.first_peer + self.replicas)


@dataclass(frozen=True, slots=True)
class Demand:
    """Everything of a job that placement needs to know."""

    kinds: tuple[PeerKind, ...]
    min_peers: int
    ring: bool
    """True when peers exchange with ring neighbours; False when everybody needs everybody."""
    hub: PeerKind | None = None
    """The run log's pod, if it has to find room, too: one, that may run beside any peer."""


def demand_of(spec: JobSpec) -> Demand:
    """The demand of a valid spec. Ordinals run through the pools in their order."""
    card = METHODS[spec.method["type"]]
    kinds: list[PeerKind] = []
    first = 0
    for pool in spec.pools:
        kinds.append(_kind(spec, pool, first))
        first += pool.peers.replicas
    return Demand(tuple(kinds), spec.placement.min_peers, card.ring_edges, _hub(spec))


def hub_tolerations(spec: JobSpec) -> tuple[Toleration, ...]:
    """Those of all pools, but for pools that tolerate everything: the hub would be bound to nodes
    that are down, too."""
    all_of = (one for pool in spec.pools for one in pool.tolerations if one.key is not None)
    return tuple(dict.fromkeys(all_of))


def _hub(spec: JobSpec) -> PeerKind:
    return PeerKind(
        pool="hub",
        first_peer=0,
        replicas=1,
        min=1,
        cpu_millis=to_millis(HUB_REQUESTS["cpu"]),
        memory_bytes=to_bytes(HUB_REQUESTS["memory"]),
        candidates=(Candidate(1, 0),),
        tolerations=hub_tolerations(spec),
    )


def _kind(spec: JobSpec, pool: Pool, first_peer: int) -> PeerKind:
    return PeerKind(
        pool=pool.name,
        first_peer=first_peer,
        replicas=pool.peers.replicas,
        min=pool.peers.min,
        cpu_millis=to_millis(pool.resources.cpu),
        memory_bytes=to_bytes(pool.resources.memory),
        candidates=candidates(spec, pool),
        processes=num_processes(spec, pool),
        devices=_devices(pool),
        architecture=pool.architecture and pool.architecture.value,
        node_selector=pool.node_selector,
        tolerations=tuple(pool.tolerations),
    )


def _devices(pool: Pool) -> DeviceAsk | None:
    if (ask := pool.accelerator) is None:
        return None
    return DeviceAsk(ask.resource_name, ask.count, to_bytes(ask.memory or "0"))
