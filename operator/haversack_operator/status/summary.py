"""The whole status of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from haversack_operator.api.job import Pool
from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus, MethodStatus, PlacementStatus, PoolStatus
from haversack_operator.snapshot import Invalid, Job, PlanView, Pod, Snapshot
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.report import RunProgress
from haversack_trainer.contract.scores import kinds

from .conditions import Draft, again, false, is_over, is_true, lay_over, true
from .figures import (
    adapter_of,
    evaluation_of,
    is_as_written,
    progress_of,
    scores_of,
    traffic_of,
    verdict_of,
)
from .findings import Findings
from .judge import drafts_of, num_wanted, ready_by_pool
from .times import active_seconds, stamp


def read_status(written: Mapping[str, Any]) -> JobStatus:
    """The status as written before; an empty one when somebody made it unreadable."""
    try:
        return JobStatus.model_validate(written)
    except ValidationError:
        return JobStatus()


def summarise(job: Job, snapshot: Snapshot, findings: Findings) -> JobStatus:
    """The status after this pass. What cannot be seen now stays as it was."""
    old = read_status(job.status)
    now = stamp(snapshot.now)
    conditions = lay_over(old, drafts_of(job, snapshot, findings, old), job.generation, now)
    changes: dict[str, Any] = {"observed_generation": job.generation, "conditions": conditions}
    if is_over(old):
        return old.model_copy(update=changes)
    changes |= _counts(job, findings)
    changes |= _times(job, snapshot, findings, old)
    changes["replacements"] = old.replacements + findings.num_replaced
    changes["attempts"] = _attempts(job, findings, old)
    changes["hub_attempts"] = max(old.hub_attempts, findings.hub_attempts)
    if job.method_reason:
        changes["method"] = _method(job)
    if findings.plan is not None:
        changes["placement"] = _placement(findings.plan)
    if snapshot.progress is not None:
        changes |= _run(snapshot.progress, old, now)
    return old.model_copy(update=changes)


def summarise_invalid(job: Invalid, snapshot: Snapshot) -> JobStatus:
    """The status of a job that makes no sense. Its pods are left alone."""
    refused = false(Condition.ACCEPTED, "InvalidSpec", job.why)
    return summarise_stall(job, snapshot, "InvalidSpec", job.why, refused)


def summarise_stall(
    job: Job | Invalid, snapshot: Snapshot, reason: str, why: str, *more: Draft
) -> JobStatus:
    """The status of a job that a person has to look at; all else stays as it was, and an end is an end."""
    old = read_status(job.status)
    stalled = (*more, false(Condition.READY, reason, why), true(Condition.STALLED, reason, why))
    drafts = again(old, Condition.STALLED) if is_over(old) else stalled
    conditions = lay_over(old, drafts, job.generation, stamp(snapshot.now))
    return old.model_copy(update={"observed_generation": job.generation, "conditions": conditions})


def _counts(job: Job, findings: Findings) -> dict[str, Any]:
    ready = ready_by_pool(findings)
    pods = findings.healthy.values()
    return {
        "peers_summary": f"{sum(ready.values())}/{num_wanted(job)}",
        "pools": [
            _pool(pool, ready.get(pool.name, 0), [pod for pod in pods if pod.pool == pool.name])
            for pool in job.spec.pools
        ],
    }


def _pool(pool: Pool, ready: int, pods: list[Pod]) -> PoolStatus:
    return PoolStatus(
        name=pool.name,
        desired=pool.peers.replicas,
        ready=ready,
        failed=sum(bool(pod.exit_code) and not pod.ready for pod in pods),
        restarts=sum(pod.restarts for pod in pods),
    )


def _times(job: Job, snapshot: Snapshot, findings: Findings, old: JobStatus) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if findings.starts and old.start_time is None:
        changes["start_time"] = stamp(snapshot.now)
    stops = job.spec.suspend and not is_true(old, Condition.SUSPENDED)
    if stops or findings.ending is not None:
        changes["active_seconds"] = int(active_seconds(old, snapshot.now))
    if findings.ending is not None:
        changes["completion_time"] = stamp(snapshot.now)
    return changes


def _attempts(job: Job, findings: Findings, old: JobStatus) -> list[int]:
    """Without the peers at the end that never had a pod."""
    had = dict(enumerate(old.attempts))
    counts = [
        max(had.get(peer, 0), findings.attempts.get(peer, 0)) for peer in range(num_wanted(job))
    ]
    while counts and counts[-1] == 0:
        counts.pop()
    return counts


def _method(job: Job) -> MethodStatus:
    """So that what was chosen once stands."""
    type_ = job.spec.method["type"]
    settings = job.spec.method[METHODS[type_].member]
    return MethodStatus(
        type=type_,
        settings=json.dumps(settings),
        rounds=job.spec.training.rounds,
        reason=job.method_reason,
    )


def _placement(plan: PlanView) -> PlacementStatus:
    return PlacementStatus(
        plan_name=plan.name,
        revision=plan.revision,
        gap_percent=plan.gap_percent,
        reasons=[reason[:4096] for reason in plan.reasons[:32]],
    )


def _run(progress: RunProgress, old: JobStatus, now: str) -> dict[str, Any]:
    before = old.progress if is_as_written(progress, old) else None
    changes: dict[str, Any] = {
        "progress": before or progress_of(progress, now),
        "traffic": traffic_of(progress.peers),
    }
    if progress.evaluation is not None:
        changes["evaluation"] = evaluation_of(progress.evaluation)
    if (found := kinds(progress.scores)) is not None:
        changes["scores"] = scores_of(found, len(progress.scores))
    if progress.verdict is not None:
        changes["verdict"] = verdict_of(progress.verdict)
    if progress.published is not None:
        changes["adapter"] = adapter_of(progress.published)
    return changes
