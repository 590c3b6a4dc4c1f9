"""What a look at a job leads to, and the one place where its status joins in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from haversack_operator import status
from haversack_operator.api.status import JobStatus
from haversack_operator.cluster.base import Actions, Event
from haversack_operator.snapshot import Invalid, Job, Snapshot
from haversack_operator.status import Findings


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and when to look again."""

    actions: Actions
    due_seconds: float | None = None
    """None: when something happens, or at the re-sync."""


def told(
    job: Job,
    snapshot: Snapshot,
    findings: Findings,
    actions: Actions,
    events: Iterable[Event] = (),
) -> Actions:
    """``actions`` with the status they lead to, if it is worth a write, and its events."""
    new = status.summarise(job, snapshot, findings)
    period = job.spec.reporting.period_seconds
    written = with_status(job, new, replace(actions, events=tuple(events)), period)
    if written.status is None or snapshot.progress is None or findings.plan is None:
        return written
    rows = status.plan_rows(snapshot.progress).dump()
    return replace(written, plan_status=(findings.plan.name, rows))


def with_status(
    job: Job | Invalid, new: JobStatus, actions: Actions, period_seconds: float = 0.0
) -> Actions:
    """``actions`` with ``new`` as the status, unless that is not worth a write."""
    old = status.read_status(job.status)
    if not status.worth_writing(old, new, period_seconds):
        return actions
    events = (*actions.events, *status.transitions(old, new))
    return replace(actions, status=new.dump(), events=events)
