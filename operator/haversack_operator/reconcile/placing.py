"""A place for every peer: what stands, what the plan in force says, else what the solver finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from haversack_operator.api import owned
from haversack_operator.api.status import JobStatus
from haversack_operator.elasticity import Cause, Review
from haversack_operator.placement.assign import assign
from haversack_operator.placement.demand import Demand
from haversack_operator.placement.plan import Infeasible
from haversack_operator.placement.standing import hub_node, still_fits
from haversack_operator.snapshot import Assignment, Job, Node, PlanView, Snapshot
from haversack_trainer.contract.report import PeerState, RunProgress

UNFIT: Final = "a peer found it unfit"
NO_ROOM: Final = "kube-scheduler does not bind a pod there"
UNDER_WAY: Final = frozenset({PeerState.TRAINING, PeerState.EVALUATING, PeerState.DONE})


@dataclass(frozen=True, slots=True)
class Placed:
    """Where peers are to be."""

    plan: PlanView | None
    rows: tuple[Assignment, ...]
    no_room: str | None = None
    hub_node: str | None = None
    """Where a new hub has room."""

    @property
    def gives_back(self) -> bool:
        """Pods that are there have to go: alone they only keep others out."""
        return self.no_room is not None and not self.rows


def place(
    job: Job, snapshot: Snapshot, review: Review, written: JobStatus, demand: Demand
) -> Placed:
    """The plan in force as far as it holds, completed or replaced by the solver."""
    plan = snapshot.plan
    avoided = (plan.avoided if plan else frozenset()) | review.unfit_nodes
    nodes = _open_nodes(snapshot, review, avoided)
    if review.hub is not None:
        # Its room is in use already.
        demand = replace(demand, hub=None)
    standing = _standing(review)
    held = {peer: pod.requests for peer, pod in review.healthy.items()}
    planned = _without_pod(snapshot)
    rows = tuple(sorted((*standing, *planned), key=lambda row: row.peer))
    if (
        plan is not None
        and _same(plan.assignments, rows)
        and _covers(rows, demand)
        and still_fits(demand, nodes, standing, held, planned)
    ):
        return Placed(plan, rows, hub_node=hub_node(demand, nodes, rows, held))
    answer = assign(demand, nodes, standing, held)
    if isinstance(answer, Infeasible):
        started = has_started(snapshot, review, written)
        return _short(job, plan, avoided, answer, standing if started else ())
    if plan is not None and _same(plan.assignments, answer.assignments):
        return Placed(plan, answer.assignments, hub_node=answer.hub_node)
    answered = PlanView("", 0, answer.assignments, answer.gap_percent, answer.reasons, avoided)
    new = _renumbered(job, answered, plan)
    return Placed(new, new.assignments, hub_node=answer.hub_node)


def has_started(snapshot: Snapshot, review: Review, written: JobStatus) -> bool:
    """Whether the run is under way, or may be: then it goes on with fewer peers than it takes to start."""
    told, hub = snapshot.progress, review.hub
    if told is not None and _is_under_way(told):
        return True
    if told is not None and told.num_records:
        return False
    if (
        hub is not None
        and hub.attempt == 0
        and (told is not None or not (hub.ready or hub.restarts))
    ):
        return False
    # A hub that lost its log is filled again by the peers; of one that is away counts what it said last.
    last = written.progress
    return told is not None or (last is not None and last.round > 0)


def _is_under_way(told: RunProgress) -> bool:
    return told.round > 0 or any(report.state in UNDER_WAY for report in told.peers)


def _short(
    job: Job,
    plan: PlanView | None,
    avoided: frozenset[str],
    answer: Infeasible,
    rows: tuple[Assignment, ...],
) -> Placed:
    """What is left where the gang's minimum has no place: a run that is under way stays as it is;
    one that is not holds no room that it cannot use."""
    waits = "" if rows else "; until then it holds no room"
    why = f"{answer.why}{waits}. {'; '.join(answer.reasons)}".strip()
    if plan is None or plan.avoided == avoided:
        return Placed(plan, rows, why)
    # Which nodes are unfit must not be forgotten with the pods that found out.
    rest = replace(plan, assignments=rows, reasons=(why,), avoided=avoided)
    return Placed(_renumbered(job, rest, plan), rows, why)


def _renumbered(job: Job, plan: PlanView, before: PlanView | None) -> PlanView:
    revision = before.revision + 1 if before else 1
    return replace(plan, name=owned.plan(job.name, revision), revision=revision)


def _open_nodes(snapshot: Snapshot, review: Review, avoided: frozenset[str]) -> tuple[Node, ...]:
    """All nodes; those that were found unfit, or where kube-scheduler has no room, take nobody new."""
    lost = [loss.pod.node for loss in review.losses if loss.cause is Cause.UNSCHEDULABLE]
    closed = {**dict.fromkeys(filter(None, lost), NO_ROOM), **dict.fromkeys(avoided, UNFIT)}
    return tuple(replace(node, closed=closed.get(node.name, "")) for node in snapshot.nodes)


def _standing(review: Review) -> tuple[Assignment, ...]:
    """Peers with a good pod stay where it is."""
    return tuple(
        Assignment(peer, pod.pool, pod.node, pod.micro_batch_size)
        for peer, pod in sorted(review.healthy.items())
        if pod.pool is not None and pod.node is not None
    )


def _without_pod(snapshot: Snapshot) -> tuple[Assignment, ...]:
    """Rows of the plan in force whose peer has no pod, good or bad."""
    seen = {pod.peer for pod in snapshot.pods}
    rows = snapshot.plan.assignments if snapshot.plan is not None else ()
    return tuple(row for row in rows if row.peer not in seen)


def _same(left: tuple[Assignment, ...], right: tuple[Assignment, ...]) -> bool:
    return set(left) == set(right)


def _covers(rows: tuple[Assignment, ...], demand: Demand) -> bool:
    return {row.peer for row in rows} == {peer for kind in demand.kinds for peer in kind.peers}
