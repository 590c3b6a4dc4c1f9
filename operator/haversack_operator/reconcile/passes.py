"""A pass, and which of the four stories of a job it tells: unreadable, over, suspended, running."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from haversack_operator import status
from haversack_operator.cluster.base import Actions, Cluster, ClusterError, Key
from haversack_operator.resources import PodSettings
from haversack_operator.snapshot import Invalid, Job, Snapshot

from .decision import Decision, with_status
from .running import running
from .stopping import finished, suspended

MAX_LOOKS: Final = 3
"""In one pass: another one is needed when others took the room that was planned with."""
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass came to."""

    due_seconds: float | None = None
    gone: bool = False
    """There is no such job any more."""
    actions: Actions = field(default_factory=Actions)


async def run(key: Key, cluster: Cluster, now: datetime, settings: PodSettings) -> Outcome:
    """One pass. Raises ``ClusterError`` when it should be tried again; any other error is ours, and the
    job says so before it is raised."""
    for _ in range(MAX_LOOKS):
        snapshot = await cluster.observe(key, now)
        if snapshot is None:
            return Outcome(gone=True)
        try:
            outcome = await _act(key, cluster, snapshot, settings)
        except ClusterError:
            raise
        except Exception as error:
            await cluster.apply(key, owned_up(snapshot, error))
            raise
        if outcome is not None:
            return outcome
    raise ClusterError(f"{key.name}: other jobs took the room while places were looked for")


async def _act(
    key: Key, cluster: Cluster, snapshot: Snapshot, settings: PodSettings
) -> Outcome | None:
    """Decide and do; None if others took the room that was planned with."""
    # The solver may think for seconds; the event loop and other jobs' passes go on meanwhile.
    decision = await asyncio.to_thread(decide, snapshot, settings)
    if not cluster.claim(key, snapshot, decision.actions):
        return None
    await cluster.apply(key, decision.actions)
    return Outcome(decision.due_seconds, actions=decision.actions)


def owned_up(snapshot: Snapshot, error: Exception) -> Actions:
    """The status of a job whose pass failed. What is over, or about to go, keeps its last word."""
    job = snapshot.job
    if isinstance(job, Job) and (job.finished or job.deleting):
        return Actions()
    why = f"the operator failed on this job: {describe(error)}; see its log"
    return with_status(job, status.summarise_stall(job, snapshot, "InternalError", why), Actions())


def describe(error: Exception) -> str:
    """An error in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]


def decide(snapshot: Snapshot, settings: PodSettings) -> Decision:
    """Everything that is to be done about a job now."""
    job = snapshot.job
    if isinstance(job, Invalid):
        return Decision(with_status(job, status.summarise_invalid(job, snapshot), Actions()))
    if job.deleting:
        # What it owns goes with it.
        return Decision(Actions())
    written = status.read_status(job.status)
    if job.finished:
        return finished(job, snapshot, written)
    if job.spec.suspend:
        return suspended(job, snapshot)
    return running(job, snapshot, settings, written)
