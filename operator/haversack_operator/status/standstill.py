"""Does the run move? By the operator's own clock: those of peers may be wrong. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus
from haversack_operator.snapshot import Job, Snapshot
from haversack_trainer.contract.report import RunProgress

from .conditions import Draft, false, find
from .figures import is_as_written
from .times import parse

SILENT_PERIODS: Final = 30
"""A peer says something once a reporting period, and a silent one is out of the run after the
heartbeat's timeout; an evaluation on a slow machine may keep all of them busy for several."""


def standstill(job: Job, snapshot: Snapshot, old: JobStatus) -> Draft | None:
    """What keeps the run from moving though its pods are ready, if anything does."""
    progress = snapshot.progress
    if progress is not None and not (progress.view or progress.round or progress.verdict):
        return false(Condition.READY, "Starting", "no peer has joined the run yet")
    since = _last_moved(old)
    if since is None or (progress is not None and not is_as_written(progress, old)):
        return None
    silent = snapshot.now - since
    if silent < _patience(job):
        return None
    return false(Condition.READY, "NoProgress", _said(progress, since))


def _patience(job: Job) -> timedelta:
    spec = job.spec
    period = max(spec.elasticity.heartbeat_timeout_seconds, spec.reporting.period_seconds)
    return timedelta(seconds=max(SILENT_PERIODS * period, spec.placement.timeout_seconds))


def _last_moved(old: JobStatus) -> datetime | None:
    """None while hub or peers are not ready: that has conditions of its own."""
    entries = [find(old, each) for each in (Condition.HUB_READY, Condition.PEERS_READY)]
    began = [
        parse(entry.last_transition_time)
        for entry in entries
        if entry is not None and entry.status == "True"
    ]
    if len(began) < len(entries):
        return None
    seen = old.progress.seen_time if old.progress is not None else None
    return max([*began, *([parse(seen)] if seen is not None else [])])


def _said(progress: RunProgress | None, since: datetime) -> str:
    if progress is None:
        return (
            f"the hub has not answered the operator since {since:%Y-%m-%d %H:%M:%S} UTC; "
            "look at its log and at network policies"
        )
    return (
        f"round {progress.round} of {progress.rounds} is open and no peer has reported since "
        f"{since:%Y-%m-%d %H:%M:%S} UTC; look at the peers' logs"
    )
