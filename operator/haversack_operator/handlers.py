"""What kopf tells us, and whom it concerns. Handlers only say that a job is to be looked at.

There are only raw event handlers: they write nothing to the objects, need no finalizer, and a missed
event costs no more than waiting for the next one or for the re-sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import kopf

from haversack_operator.api import names
from haversack_operator.cluster.base import Key
from haversack_operator.cluster.kube_view import ClusterView

DELETED: Final = "DELETED"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where events are handed in."""

    view: ClusterView
    add: Callable[[Key], None]
    """Look at this job soon."""
    restless: Callable[[], Iterable[Key]]
    """Jobs that care for what happens to nodes."""
    seen: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    """What people last wanted of each job."""

    def see_job(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """A job came, changed or went. Most news are of our own status writes: nothing to look at."""
        meta = body["metadata"]
        key = Key(meta["namespace"], meta["name"])
        parts = ("uid", "generation", "annotations", "deletionTimestamp")
        wishes = None if gone else tuple(str(meta.get(part)) for part in parts)
        if wishes is None:
            self.seen.pop(key, None)
        elif self.seen.get(key) == wishes:
            return
        else:
            self.seen[key] = wishes
        self.add(key)

    def see_pod(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """Some pod came, changed or went; it may be a job's."""
        self.view.see_pod(body, gone=gone)
        job = body["metadata"].get("labels", {}).get(names.LABEL_JOB)
        if job is not None:
            self.add(Key(body["metadata"]["namespace"], job))

    def see_node(self, body: Mapping[str, Any], *, gone: bool) -> None:
        """A node came, changed or went."""
        if self.view.see_node(body, gone=gone):
            for key in self.restless():
                self.add(key)


def registry_of(desk: Desk, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """All handlers."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def log_in(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.event(names.GROUP, names.VERSION, names.JOB_PLURAL, registry=registry)
    async def job(event: kopf.RawEvent, **_: Any) -> None:
        desk.see_job(event["object"], gone=event["type"] == DELETED)

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod(event: kopf.RawEvent, **_: Any) -> None:
        desk.see_pod(event["object"], gone=event["type"] == DELETED)

    @kopf.on.event("", "v1", "nodes", registry=registry)
    async def node(event: kopf.RawEvent, **_: Any) -> None:
        desk.see_node(event["object"], gone=event["type"] == DELETED)

    return registry


def settings_for_events_only() -> kopf.OperatorSettings:
    """No kopf events, peering, or watching of CRDs; time limits on everything."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 600
    settings.networking.request_timeout = 30
    settings.process.ultimate_exiting_timeout = 60
    # Unused, but if it ever were used, then under our own name.
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    return settings
