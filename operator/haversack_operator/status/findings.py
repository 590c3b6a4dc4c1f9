"""What a pass found out, besides what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from haversack_operator.snapshot import Assignment, PlanView, Pod


@dataclass(frozen=True, slots=True)
class Ending:
    """The job is over."""

    complete: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """The reasons for a pass's actions."""

    healthy: Mapping[int, Pod] = field(default_factory=dict)
    """The pod that each peer is counted on."""
    hub: Pod | None = None
    """The pod that serves the run log."""
    plan: PlanView | None = None
    """In force after this pass."""
    rows: tuple[Assignment, ...] = ()
    """Peers that have a place."""
    no_room: str | None = None
    """Why there is no plan with the gang's minimum."""
    waits_for: str | None = None
    """What has to happen before anything is placed."""
    ending: Ending | None = None
    attempts: Mapping[int, int] = field(default_factory=dict)
    """How many pods each peer has had, those of this pass included."""
    hub_attempts: int = 0
    """The same of the hub."""
    starts: bool = False
    """Pods of peers are created in this pass."""
    num_replaced: int = 0
    """Replacements of this pass that count."""
