"""A job that shall not run: over, or suspended. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from haversack_operator import status
from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus
from haversack_operator.cluster.base import Actions, Ref
from haversack_operator.elasticity import LOST_GRACE_SECONDS, pods_on_lost_nodes
from haversack_operator.snapshot import Job, Pod, Role, Snapshot
from haversack_operator.status import Findings

from .decision import Decision, told
from .ending import ending_of

LINGER_SECONDS: Final = 60.0
"""After the end, so long may peers take to read it from the hub and exit by themselves."""
GENTLE: Final = frozenset({"AdapterPublished", "GateFailed"})
"""Endings that the run itself came to: its peers know, and have a report to finish."""
LOOK_AGAIN_SECONDS: Final = 5.0


def finished(job: Job, snapshot: Snapshot, written: JobStatus) -> Decision:
    """Let peers go, then the hub; later the job itself, if it has a time to live."""
    age = _age(written, snapshot)
    linger = LINGER_SECONDS if _reason(written) in GENTLE else 0.0
    busy = any(_is_active(pod) for pod in snapshot.pods)
    ttl = job.spec.ttl_seconds_after_finished
    expired = ttl is not None and age >= ttl
    actions = Actions(delete=tuple(_leaving(snapshot, peers_too=age >= linger)), delete_job=expired)
    waits = [LOOK_AGAIN_SECONDS] if busy else []
    if ttl is not None and not expired:
        waits.append(ttl - age)
    return Decision(told(job, snapshot, Findings(), actions), min(waits, default=None))


def suspended(job: Job, snapshot: Snapshot) -> Decision:
    """Peers save and stop; the hub is the last to go. A run that is over is over, suspended or not."""
    written = status.read_status(job.status)
    ending = ending_of(job, snapshot, written, review=None)
    actions = Actions(delete=tuple(_leaving(snapshot, peers_too=True)))
    busy = any(_is_active(pod) for pod in snapshot.pods)
    findings = Findings(ending=ending)
    due = LOOK_AGAIN_SECONDS if busy or ending is not None else None
    return Decision(told(job, snapshot, findings, actions), due)


def _leaving(snapshot: Snapshot, *, peers_too: bool) -> Iterator[Ref]:
    """Peers, if they may be told to; the hub once no peer needs it any more. What is on a lost node
    is not asked."""
    peers = [pod for pod in snapshot.pods if pod.role is Role.PEER and _is_active(pod)]
    leaving = peers if peers_too else []
    if not peers:
        leaving = [pod for pod in snapshot.pods if pod.role is Role.HUB]
    lost = pods_on_lost_nodes(snapshot)
    for pod in leaving:
        if pod.name in lost:
            yield Ref("Pod", pod.name, LOST_GRACE_SECONDS)
        elif not pod.deleting:
            yield Ref("Pod", pod.name)


def _is_active(pod: Pod) -> bool:
    return pod.phase not in {"Succeeded", "Failed"}


def _age(written: JobStatus, snapshot: Snapshot) -> float:
    if written.completion_time is None:
        return 0.0
    return (snapshot.now - status.parse(written.completion_time)).total_seconds()


def _reason(written: JobStatus) -> str:
    final = {Condition.COMPLETE, Condition.FAILED}
    return next(
        (one.reason for one in written.conditions if one.type in final and one.status == "True"), ""
    )
