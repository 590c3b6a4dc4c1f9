"""A job that shall run: a place for every peer, a pod for every place. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from haversack_operator import elasticity, status
from haversack_operator.api import names, owned
from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus
from haversack_operator.cluster.base import Actions, Manifest, Ref
from haversack_operator.cluster.certificates import CA, HUB, OPERATOR, peer_name
from haversack_operator.elasticity import Review
from haversack_operator.placement.demand import demand_of
from haversack_operator.resources import (
    PodSettings,
    hub_pod,
    peer_pod,
    plan_object,
    shared_objects,
)
from haversack_operator.snapshot import Assignment, Job, PlanView, Role, Snapshot
from haversack_operator.status import Findings

from .decision import Decision, told
from .ending import ending_of
from .placing import Placed, place

WAIT_SECONDS: Final = 15.0
"""Between two looks at something that another hand has to change."""
LEAST_SECONDS: Final = 2.0
"""Between two looks that nothing but the time asks for."""
KEPT_PLANS: Final = 3
MAX_APPROVER: Final = 1000
"""Characters of a person's name that go into the run log, whose records are bounded."""


def running(job: Job, snapshot: Snapshot, settings: PodSettings, written: JobStatus) -> Decision:
    """Keep the job's pods as wanted."""
    demand = demand_of(job.spec)
    pool_of = {peer: kind.pool for kind in demand.kinds for peer in kind.peers}
    review = elasticity.review(job, snapshot, pool_of)
    ending = ending_of(job, snapshot, written, review)
    if ending is not None:
        findings = Findings(review.healthy, review.hub, snapshot.plan, ending=ending)
        return Decision(told(job, snapshot, findings, Actions()), 0.0)
    if snapshot.missing_secrets:
        findings = Findings(review.healthy, review.hub, snapshot.plan, _rows(snapshot.plan))
        return Decision(told(job, snapshot, findings, Actions()), WAIT_SECONDS)
    if snapshot.leftovers:
        wait = f"another job's {', '.join(snapshot.leftovers)} must go first"
        findings = Findings(review.healthy, waits_for=wait)
        return Decision(told(job, snapshot, findings, Actions()), LEAST_SECONDS)
    placed = place(job, snapshot, review, written, demand)
    actions = Actions(
        apply=tuple(_wanted(job, snapshot, review, placed, settings)),
        key_pairs=_missing_pairs(pool_of, snapshot) if placed.rows else frozenset(),
        delete=tuple(_unwanted(job, snapshot, review, placed)),
        approve=_approval(job, snapshot),
    )
    findings = Findings(
        healthy=review.healthy,
        hub=review.hub,
        plan=placed.plan,
        rows=placed.rows,
        no_room=placed.no_room,
        # What is refused now was refused before, and is not counted again.
        attempts=_attempts(review, () if snapshot.refusal else placed.rows),
        hub_attempts=0 if snapshot.refusal else _hub_attempts(review, placed),
        starts=bool(placed.rows),
        num_replaced=len(review.counted),
    )
    due = _due(job, snapshot, written, findings)
    return Decision(told(job, snapshot, findings, actions, review.events), due)


def _rows(plan: PlanView | None) -> tuple[Assignment, ...]:
    return plan.assignments if plan is not None else ()


def _wanted(
    job: Job, snapshot: Snapshot, review: Review, placed: Placed, settings: PodSettings
) -> Iterator[Manifest]:
    """What is not there yet, in the order in which it is needed."""
    if placed.plan is not None and placed.plan != snapshot.plan:
        yield plan_object(job, placed.plan)
    if not placed.rows:
        return
    # Between two runs the job file takes in what was changed meanwhile; during a run it never changes.
    afresh = not snapshot.pods
    for manifest in shared_objects(job):
        if afresh or (manifest["kind"], manifest["metadata"]["name"]) not in snapshot.existing:
            yield manifest
    if review.hub is None:
        held = any(pod.role is Role.PEER and pod.phase == "Running" for pod in snapshot.pods)
        awaits_log = review.next_hub_attempt > 0 and held
        yield hub_pod(
            job, review.next_hub_attempt, settings, placed.hub_node, awaits_log=awaits_log
        )
    for row in placed.rows:
        if row.peer not in review.healthy:
            yield peer_pod(job, row, review.next_attempt.get(row.peer, 0), settings)


def _unwanted(job: Job, snapshot: Snapshot, review: Review, placed: Placed) -> Iterator[Ref]:
    for loss in review.losses:
        yield Ref("Pod", loss.pod.name, loss.grace_seconds)
    if placed.gives_back:
        good = (*review.healthy.values(), *([review.hub] if review.hub is not None else []))
        yield from (Ref("Pod", pod.name) for pod in good)
    if not job.spec.network_policy.enabled and ("NetworkPolicy", job.name) in snapshot.existing:
        yield Ref("NetworkPolicy", job.name)
    if placed.plan is not None and placed.plan != snapshot.plan:
        oldest = placed.plan.revision - KEPT_PLANS
        if oldest > 0:
            yield Ref(names.PLAN_KIND, owned.plan(job.name, oldest))


def _attempts(review: Review, rows: tuple[Assignment, ...]) -> dict[int, int]:
    """Pods that each peer has had after this pass. The successor of one that is counted as a loss is
    among them even if it cannot be made now: that is how the next pass knows."""
    fresh = {row.peer for row in rows} - review.healthy.keys()
    fresh |= {loss.pod.peer for loss in review.counted if loss.pod.peer is not None}
    return {**review.next_attempt, **{peer: review.next_attempt.get(peer, 0) + 1 for peer in fresh}}


def _hub_attempts(review: Review, placed: Placed) -> int:
    return review.next_hub_attempt + bool(review.hub is None and placed.rows)


def _missing_pairs(pool_of: Mapping[int, str], snapshot: Snapshot) -> frozenset[str]:
    wanted = {CA, HUB, OPERATOR, *(peer_name(peer) for peer in pool_of)}
    return frozenset(wanted) - snapshot.key_pairs


def _approval(job: Job, snapshot: Snapshot) -> str | None:
    """Who approved, if the hub is to be told so now."""
    progress = snapshot.progress
    asked = job.spec.evaluation.gate.needs_approval
    if progress is None or progress.verdict is None or not asked:
        return None
    due = progress.verdict.passed and progress.approved_by is None
    return job.approved_by[:MAX_APPROVER] if due and job.approved_by else None


def _due(job: Job, snapshot: Snapshot, written: JobStatus, findings: Findings) -> float:
    waits = [float(job.spec.reporting.period_seconds), *elasticity.seconds_to_losses(snapshot)]
    limit = job.spec.active_deadline_seconds
    if limit is not None:
        waits.append(limit - status.active_seconds(written, snapshot.now))
    if findings.no_room is not None:
        waited = status.seconds_since(written, Condition.PLACED, "False", snapshot.now)
        patience = job.spec.placement.timeout_seconds - waited
        waits += [WAIT_SECONDS, *([patience] if patience > 0 else [])]
    return max(LEAST_SECONDS, min(waits))
