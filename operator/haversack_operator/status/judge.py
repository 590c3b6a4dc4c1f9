"""The conditions, one by one, of a job that parsed (docs/conditions.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus
from haversack_operator.snapshot import Job, Pod, Role, Snapshot
from haversack_trainer.contract.report import RunProgress

from .conditions import Draft, again, false, is_over, true, unknown
from .findings import Findings
from .standstill import standstill
from .times import seconds_since

STALE_PERIODS: Final = 2
_IMAGE: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
_CONFIG: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)

_HUB_WORDS: Final = {
    "ImagePull": "waits for its image",
    "PodConfig": "cannot be started",
    "Unschedulable": "finds no room on any node",
    "HubCrashLoop": "crashes and is restarted",
}


def drafts_of(
    job: Job, snapshot: Snapshot, findings: Findings, old: JobStatus
) -> tuple[Draft, ...]:
    """Every condition that can be judged now."""
    if is_over(old):
        # Final. Failed stays Stalled: that is what kstatus calls a failure.
        return again(old, Condition.STALLED)
    own = [
        _accepted(job, snapshot),
        _placed(job, findings),
        _hub_ready(job, findings),
        _peers_ready(job, findings),
        *_gate(job, snapshot.progress),
        _suspended(job, snapshot),
        *_checkpoint(job, snapshot.progress),
    ]
    return (*own, *_overall(job, snapshot, findings, old, {draft.type: draft for draft in own}))


def _accepted(job: Job, snapshot: Snapshot) -> Draft:
    if not snapshot.missing_secrets:
        return true(Condition.ACCEPTED, "SpecValid")
    secrets = ", ".join(snapshot.missing_secrets)
    return false(
        Condition.ACCEPTED,
        "MissingSecret",
        f"Secret {secrets} is not in namespace {job.namespace}; create it, or change "
        "spec.storage.s3.secretRef in a new job",
    )


def _placed(job: Job, findings: Findings) -> Draft:
    if findings.no_room is not None:
        return false(Condition.PLACED, "CannotPlace", findings.no_room)
    if findings.plan is not None and findings.rows:
        said = f"{len(findings.rows)} of {num_wanted(job)} peers are placed"
        if findings.plan.reasons:
            said += f": {'; '.join(findings.plan.reasons)}"
        return true(Condition.PLACED, "PlanApplied", said)
    if job.spec.suspend:
        return false(Condition.PLACED, "Suspended", "a suspended job holds no place")
    return false(Condition.PLACED, "Pending", findings.waits_for or "not placed yet")


def _hub_ready(job: Job, findings: Findings) -> Draft:
    if job.spec.suspend:
        return unknown(Condition.HUB_READY, "Suspended", "a suspended job has no hub")
    if not findings.rows:
        return unknown(Condition.HUB_READY, "Pending", "the hub starts once peers are placed")
    hub = findings.hub
    if hub is None:
        return false(Condition.HUB_READY, "Starting", "the hub's pod is being created")
    if hub.ready:
        return true(Condition.HUB_READY, "Serving", f"{hub.name} serves the run log")
    reason = _trouble(hub)
    if reason is None:
        return false(Condition.HUB_READY, "Starting", f"the hub, {hub.name}, is starting")
    return false(
        Condition.HUB_READY, reason, f"the hub, {hub.name}, {_HUB_WORDS[reason]}: {_detail(hub)}"
    )


def _peers_ready(job: Job, findings: Findings) -> Draft:
    ready = ready_by_pool(findings)
    total = sum(ready.values())
    said = f"{total} of {num_wanted(job)} peers are ready, {job.spec.placement.min_peers} needed"
    enough = total >= job.spec.placement.min_peers and all(
        ready.get(pool.name, 0) >= pool.peers.min for pool in job.spec.pools
    )
    if enough:
        return true(Condition.PEERS_READY, "MinPeersReady", said)
    if job.spec.suspend:
        return false(Condition.PEERS_READY, "Suspended", said)
    for pod in findings.healthy.values():
        reason = _trouble(pod)
        if reason is not None:
            return false(Condition.PEERS_READY, reason, f"{said}; {pod.name}: {_detail(pod)}")
    return false(Condition.PEERS_READY, "Starting", said)


def _trouble(pod: Pod) -> str | None:
    if pod.ready or pod.phase == "Succeeded":
        return None
    if pod.waiting_reason in _IMAGE:
        return "ImagePull"
    if pod.waiting_reason in _CONFIG:
        return "PodConfig"
    if pod.waiting_reason == "Unschedulable":
        return "Unschedulable"
    if not pod.exit_code:
        return None
    return "PeerCrashLoop" if pod.role is Role.PEER else "HubCrashLoop"


def _detail(pod: Pod) -> str:
    return pod.message or pod.waiting_reason or f"exit code {pod.exit_code}"


def _gate(job: Job, progress: RunProgress | None) -> Iterator[Draft]:
    if progress is None:
        return
    verdict = progress.verdict
    if verdict is None:
        yield false(Condition.GATE_PASSED, "NotEvaluated", "the run is not over")
    elif not verdict.passed:
        yield false(Condition.GATE_PASSED, "GateFailed", verdict.reason)
    elif job.spec.evaluation.gate.needs_approval and progress.approved_by is None:
        yield false(
            Condition.GATE_PASSED,
            "AwaitingApproval",
            f"{verdict.reason}; a person has to approve: haversack approve {job.name}",
        )
    else:
        by = f"; approved by {progress.approved_by}" if progress.approved_by else ""
        yield true(Condition.GATE_PASSED, "GatePassed", f"{verdict.reason}{by}")


def _suspended(job: Job, snapshot: Snapshot) -> Draft:
    if not job.spec.suspend:
        return false(Condition.SUSPENDED, "NotSuspended")
    left = sum(pod.phase not in {"Succeeded", "Failed"} for pod in snapshot.pods)
    if left:
        return true(Condition.SUSPENDED, "Stopping", f"{left} pods are saving and stopping")
    return true(Condition.SUSPENDED, "Stopped", "all peers are stopped")


def _checkpoint(job: Job, progress: RunProgress | None) -> Iterator[Draft]:
    if progress is None:
        return
    saved, period = progress.checkpoint_round, job.spec.checkpoint.period_rounds
    if saved is None:
        yield false(
            Condition.CHECKPOINT_FRESH, "NeverSaved", f"the run is in round {progress.round}"
        )
    elif progress.round - saved > STALE_PERIODS * period:
        yield false(
            Condition.CHECKPOINT_FRESH,
            "Stale",
            f"the newest checkpoint is of round {saved}, the run is in round {progress.round}",
        )
    else:
        yield true(Condition.CHECKPOINT_FRESH, "Saved", f"round {saved}")


def _overall(
    job: Job, snapshot: Snapshot, findings: Findings, old: JobStatus, own: dict[str, Draft]
) -> Iterator[Draft]:
    ending = findings.ending
    if ending is not None:
        state = true if ending.complete else false
        yield state(Condition.READY, ending.reason, ending.message)
        yield state(Condition.COMPLETE, ending.reason, ending.message)
        yield (false if ending.complete else true)(Condition.FAILED, ending.reason, ending.message)
        if not ending.complete:
            yield true(Condition.STALLED, ending.reason, ending.message)
        return
    yield false(Condition.COMPLETE, "InProgress")
    yield false(Condition.FAILED, "InProgress")
    obstacle = _obstacle(snapshot, own)
    if obstacle is None:
        gate = own.get(Condition.GATE_PASSED)
        if gate is not None and gate.reason == "AwaitingApproval":
            yield true(Condition.READY, gate.reason, gate.message)
            return
        obstacle = standstill(job, snapshot, old)
    if obstacle is None:
        yield true(Condition.READY, "Training", own[Condition.PEERS_READY].message)
        return
    yield false(Condition.READY, obstacle.reason, obstacle.message)
    if obstacle.type == Condition.SUSPENDED and obstacle.reason == "Stopped":
        return
    stalled = snapshot.refusal or _is_stuck(job, snapshot, old, obstacle)
    yield true(
        Condition.STALLED if stalled else Condition.RECONCILING, obstacle.reason, obstacle.message
    )


def _obstacle(snapshot: Snapshot, own: dict[str, Draft]) -> Draft | None:
    """The first thing that keeps the job from training as wanted."""
    if own[Condition.SUSPENDED].status == "True":
        return own[Condition.SUSPENDED]
    if snapshot.refusal:
        return false(Condition.READY, "Refused", snapshot.refusal)
    chain = (Condition.ACCEPTED, Condition.PLACED, Condition.HUB_READY, Condition.PEERS_READY)
    return next((own[each] for each in chain if own[each].status == "False"), None)


def _is_stuck(job: Job, snapshot: Snapshot, old: JobStatus, obstacle: Draft) -> bool:
    """Waiting is fine for ``placement.timeoutSeconds``; a peer's slow start is not being stuck, but a
    hub has nothing to load."""
    if obstacle.reason == "NoProgress":
        return True
    patient = {"MissingSecret", "CannotPlace", "ImagePull", "PodConfig"}
    if obstacle.reason not in patient and obstacle.type != Condition.HUB_READY:
        return False
    waited = seconds_since(old, obstacle.type, "False", snapshot.now)
    return waited >= job.spec.placement.timeout_seconds


def num_wanted(job: Job) -> int:
    """Peers over all pools."""
    return sum(pool.peers.replicas for pool in job.spec.pools)


def ready_by_pool(findings: Findings) -> dict[str, int]:
    """Peers whose pod is ready or done, by pool."""
    ready: dict[str, int] = {}
    for pod in findings.healthy.values():
        if pod.pool is not None and (pod.ready or pod.phase == "Succeeded"):
            ready[pod.pool] = ready.get(pod.pool, 0) + 1
    return ready
