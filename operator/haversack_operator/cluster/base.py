"""The seam to the world: what one pass reads, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from haversack_operator.snapshot import Snapshot

Manifest = Mapping[str, Any]


class Key(NamedTuple):
    """A job."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Ref:
    """An object to delete."""

    kind: str
    name: str
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may want to know."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Actions:
    """All that one pass wants done, in this order. Applying them twice is harmless."""

    apply: tuple[Manifest, ...] = ()
    """Whole objects in the job's namespace, for server-side apply."""
    key_pairs: frozenset[str] = frozenset()
    """Names that must have a key pair in the job's TLS Secret before pods are applied."""
    delete: tuple[Ref, ...] = ()
    approve: str | None = None
    """Append an APPROVAL by this person to the run log."""
    delete_job: bool = False
    """The job's time to live is over."""
    status: Mapping[str, Any] | None = None
    """The whole status to write, or None when it has not changed."""
    plan_status: tuple[str, Mapping[str, Any]] | None = None
    """Name of the plan whose rows are to be written, and its whole status."""
    events: tuple[Event, ...] = ()


def pods_of(actions: Actions) -> tuple[Manifest, ...]:
    """The pods that are to be created."""
    return tuple(manifest for manifest in actions.apply if manifest["kind"] == "Pod")


class Cluster(Protocol):
    """``kube`` or ``local``."""

    async def observe(self, key: Key, now: datetime) -> Snapshot | None:
        """One consistent look, or None if the job is gone."""

    def claim(self, key: Key, snapshot: Snapshot, actions: Actions) -> bool:
        """Hold room for the pods of ``actions``, which are then applied. False if others took it
        since the look: look again."""

    async def apply(self, key: Key, actions: Actions) -> None:
        """Do it. Raises ``ClusterError`` when the pass should be tried again."""


class ClusterError(Exception):
    """The world did not take an action; the pass is tried again with back-off."""
