"""What was seen in one look at the world. Values only; nothing here reads anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from haversack_operator.api.job import JobSpec
from haversack_operator.api.names import Condition
from haversack_trainer.contract.report import RunProgress


@dataclass(frozen=True, slots=True)
class Amounts:
    """Resources, in base units."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    """Extended resources by name."""


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as far as placement cares."""

    name: str
    labels: Mapping[str, str]
    allocatable: Amounts
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    down_since: datetime | None = None
    """When it stopped being ready; None if it does not say."""
    unschedulable: bool = False
    used: Amounts = Amounts()
    """Requests of the pods on it that are not this job's."""
    closed: str = ""
    """Why this job sends nobody new there although the node is up; empty if it does."""


class Role(StrEnum):
    PEER = "peer"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class Pod:
    """One of the job's pods."""

    name: str
    role: Role
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    node: str | None
    """Where it is bound, or where it was told to go."""
    peer: int | None = None
    pool: str | None = None
    attempt: int = 0
    ready: bool = False
    restarts: int = 0
    exit_code: int | None = None
    """Of the newest terminated container, whether restarted since or not."""
    waiting_reason: str | None = None
    """ImagePullBackOff, CrashLoopBackOff, …"""
    disrupted: bool = False
    """It has the condition DisruptionTarget."""
    deleting: bool = False
    ip: str | None = None
    requests: Amounts = Amounts()
    created: datetime | None = None
    micro_batch_size: int = 1
    """What placement told the peer."""
    message: str = ""
    """Last line that the newest terminated container left behind."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One peer's place and configuration."""

    peer: int
    pool: str
    node: str
    micro_batch_size: int


@dataclass(frozen=True, slots=True)
class PlanView:
    """The newest FineTunePlan."""

    name: str
    revision: int
    assignments: tuple[Assignment, ...]
    gap_percent: str
    reasons: tuple[str, ...] = ()
    avoided: frozenset[str] = frozenset()
    """Nodes that a peer found unfit (``ExitCode.BAD_NODE``)."""


@dataclass(frozen=True, slots=True)
class Job:
    """A FineTuneJob that parsed."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: JobSpec
    created: datetime
    deleting: bool = False
    approved_by: str | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    """As last written."""
    method_reason: str = ""
    """Why ``spec`` has this method, where the job left it open."""

    @property
    def finished(self) -> bool:
        """Complete or failed, as last written: final."""
        final = {Condition.COMPLETE, Condition.FAILED}
        conditions = self.status.get("conditions", ())
        return any(one.get("type") in final and one.get("status") == "True" for one in conditions)

    @property
    def attempts(self) -> tuple[int, ...]:
        """How many pods each peer is known to have had, as last written."""
        return tuple(self.status.get("attempts", ()))

    @property
    def hub_attempts(self) -> int:
        """How many pods the hub is known to have had, as last written."""
        return int(self.status.get("hubAttempts", 0))

    @property
    def run(self) -> str:
        return f"{self.namespace}.{self.name}.{self.uid[:8]}"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A FineTuneJob that does not parse; ``why`` names the field and what to change."""

    name: str
    namespace: str
    uid: str
    generation: int
    why: str
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one pass decides from."""

    job: Job | Invalid
    now: datetime
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    plan: PlanView | None = None
    progress: RunProgress | None = None
    """None while the hub cannot be reached."""
    key_pairs: frozenset[str] = frozenset()
    """Names in the job's TLS Secret: ``ca``, ``hub``, ``operator``, ``peer-0``, …"""
    existing: frozenset[tuple[str, str]] = frozenset()
    """(kind, name) of the job's other owned objects: Service, ConfigMap, Secret, NetworkPolicy."""
    missing_secrets: tuple[str, ...] = ()
    """Secrets that the job refers to and that are not there."""
    leftovers: tuple[str, ...] = ()
    """Objects under the job's names that are not its own: of a namesake that was deleted just now."""
    refusal: str = ""
    """What the API server said when it refused something of the pass before."""
