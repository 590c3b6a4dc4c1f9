"""Which pods go, which peers need a new one, and whether the job is past help. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from haversack_operator.cluster.base import Event
from haversack_operator.snapshot import Job, Node, Pod, Role, Snapshot
from haversack_trainer.contract.exits import ExitCode

UNSCHEDULABLE_PATIENCE: Final = timedelta(seconds=60)
"""After this long kube-scheduler will not bind the pod where the plan has it: plan anew."""
NODE_PATIENCE: Final = timedelta(seconds=45)
"""A node may miss a few heartbeats and come back; its pods run on meanwhile."""
LOST_GRACE_SECONDS: Final = 0
"""A lost node will not confirm a deletion; the run log turns its peer away if it comes back."""
HUB_RESTARTS: Final = 3
"""A hub that is restarted in place keeps its log; one that crashes on is worth trying elsewhere."""


class Cause(StrEnum):
    """Why a pod is no longer counted on; the reason of the event that tells of it."""

    NODE_LOST = "NodeLost"
    DISRUPTED = "Disrupted"
    DELETED = "Deleted"
    MOVED = "Moved"
    FAILED = "PodFailed"
    UNSCHEDULABLE = "Unschedulable"
    BAD_NODE = "BadNode"
    CRASHED = "Crashed"
    UNFINISHED = "Unfinished"
    FORGOTTEN = "Forgotten"

    @property
    def counted(self) -> bool:
        """Only what the peer itself did wrong counts against ``maxReplacements``."""
        return self in {Cause.BAD_NODE, Cause.CRASHED, Cause.FAILED, Cause.UNFINISHED}


@dataclass(frozen=True, slots=True)
class Loss:
    """A pod that is given up."""

    pod: Pod
    cause: Cause
    counted: bool = False
    """As a replacement, and for the first time."""

    @property
    def grace_seconds(self) -> int | None:
        """None: the pod's own."""
        return LOST_GRACE_SECONDS if self.cause is Cause.NODE_LOST else None


@dataclass(frozen=True, slots=True)
class Review:
    """What one look at the pods says."""

    healthy: Mapping[int, Pod] = field(default_factory=dict)
    """The pod that each peer is counted on, Succeeded ones included."""
    losses: tuple[Loss, ...] = ()
    next_attempt: Mapping[int, int] = field(default_factory=dict)
    """By peer; absent means that the peer never had a pod. It never falls back, not even when all
    pods are gone: the run log turns away a process that is older than the one it knows."""
    hub: Pod | None = None
    next_hub_attempt: int = 0
    """It never falls back either: only a first hub may take an empty log for the run's."""
    unfit_nodes: frozenset[str] = frozenset()
    bad_job: str | None = None
    """A pod's own word on why the job cannot work as written."""

    @property
    def events(self) -> Iterator[Event]:
        """One for each pod that is given up."""
        for loss in self.losses:
            said = f"; its last words: {loss.pod.message}" if loss.pod.message else ""
            where = f" on node {loss.pod.node}" if loss.pod.node else ""
            yield Event(
                "Warning" if loss.cause.counted else "Normal",
                loss.cause.value,
                f"Pod {loss.pod.name}{where} is given up{said}",
            )

    @property
    def counted(self) -> tuple[Loss, ...]:
        """Losses that count as replacements."""
        return tuple(loss for loss in self.losses if loss.counted)


def review(job: Job, snapshot: Snapshot, pool_of: Mapping[int, str]) -> Review:
    """Judge the pods of a job that shall run; ``pool_of`` has the pool of each wanted peer."""
    judge = _Judge(job, snapshot, pool_of)
    losses, healthy = list[Loss](), dict[int, Pod]()
    attempts = {peer: had for peer, had in enumerate(job.attempts) if had}
    for peer, pods in _by_peer(snapshot.pods).items():
        newest = pods[-1]
        attempts[peer] = max(newest.attempt + 1, attempts.get(peer, 0))
        cause = judge.cause(newest)
        if cause is None:
            healthy[peer] = newest
        else:
            # With its successor's attempt in the status it was counted, whatever became of the writes.
            counted = cause.counted and attempts[peer] == newest.attempt + 1
            losses.append(Loss(newest, cause, counted))
        losses += [Loss(pod, Cause.DELETED) for pod in pods[:-1]]
    hubs = sorted((pod for pod in snapshot.pods if pod.role is Role.HUB), key=_attempt)
    hub = hubs[-1] if hubs and judge.cause(hubs[-1]) is None else None
    losses += [Loss(pod, judge.cause(pod) or Cause.DELETED) for pod in hubs if pod is not hub]
    return Review(
        healthy=healthy,
        losses=tuple(
            loss for loss in losses if not loss.pod.deleting or loss.cause is Cause.NODE_LOST
        ),
        next_attempt=attempts,
        hub=hub,
        # Where there was a peer there was a hub, even if no status tells of it.
        next_hub_attempt=max(
            [job.hub_attempts, int(bool(attempts)), *(pod.attempt + 1 for pod in hubs)]
        ),
        unfit_nodes=frozenset(
            pod.node for pod in snapshot.pods if pod.node and pod.exit_code == ExitCode.BAD_NODE
        ),
        bad_job=_bad_job(snapshot.pods),
    )


def pods_on_lost_nodes(snapshot: Snapshot) -> frozenset[str]:
    """Names of the pods whose node is not there, or will not answer for them."""
    alive = {
        node.name for node in snapshot.nodes if node.ready or _patience_left(node, snapshot.now) > 0
    }
    return frozenset(pod.name for pod in snapshot.pods if pod.node and pod.node not in alive)


def seconds_to_losses(snapshot: Snapshot) -> list[float]:
    """When nodes that are down now will be lost."""
    left = (_patience_left(node, snapshot.now) for node in snapshot.nodes if not node.ready)
    return [seconds for seconds in left if seconds > 0]


def _patience_left(node: Node, now: datetime) -> float:
    if node.down_since is None:
        return 0.0
    return (node.down_since + NODE_PATIENCE - now).total_seconds()


class _Judge:
    """Says of single pods whether they can be counted on."""

    def __init__(self, job: Job, snapshot: Snapshot, pool_of: Mapping[int, str]) -> None:
        self._pool_of = pool_of
        self._max_restarts = job.spec.failure_policy.max_restarts
        self._hub_patience = timedelta(seconds=job.spec.placement.timeout_seconds)
        self._lost = pods_on_lost_nodes(snapshot)
        self._now: datetime = snapshot.now
        self._pods = snapshot.pods
        progress = snapshot.progress
        # The hub was asked after the pods were seen: what it does not know did not happen.
        self._run_goes_on = progress is not None and not (
            progress.published or (progress.verdict and not progress.verdict.passed)
        )
        self._log_is_empty = progress is not None and progress.num_records == 0

    def cause(self, pod: Pod) -> Cause | None:
        """Why the pod is given up; None if it is not. The first that applies."""
        if pod.phase == "Succeeded" and pod.role is Role.PEER:
            return self._cause_though_done(pod)
        signs = {
            Cause.NODE_LOST: pod.name in self._lost,
            Cause.BAD_NODE: pod.exit_code == ExitCode.BAD_NODE,
            Cause.DELETED: pod.deleting,
            Cause.MOVED: pod.peer is not None and self._pool_of.get(pod.peer) != pod.pool,
            Cause.DISRUPTED: pod.disrupted,
            # A hub serves until it is told to go: one that ended by itself has failed.
            Cause.FAILED: pod.phase in {"Failed", "Succeeded"},
            Cause.CRASHED: self._crashes_on(pod),
            Cause.UNSCHEDULABLE: self._waits_too_long(pod),
        }
        return next((cause for cause, seen in signs.items() if seen), None)

    def _cause_though_done(self, pod: Pod) -> Cause | None:
        """A peer that is done stays so, unless the hub does not know of the end. One that was lost with
        its log is no fault of the peer's, and a peer that still has the log brings it back."""
        if not self._run_goes_on:
            return None
        if not self._was_before_the_hub(pod):
            return Cause.UNFINISHED
        awaits_log = self._log_is_empty and any(
            other.role is Role.PEER
            and other.phase not in {"Succeeded", "Failed"}
            and self._was_before_the_hub(other)
            for other in self._pods
        )
        return None if awaits_log else Cause.FORGOTTEN

    def _was_before_the_hub(self, pod: Pod) -> bool:
        began = [hub.created for hub in self._pods if hub.role is Role.HUB and hub.created]
        return pod.created is not None and bool(began) and pod.created <= max(began)

    def _crashes_on(self, pod: Pod) -> bool:
        if pod.role is Role.PEER:
            return pod.restarts > self._max_restarts
        # Restarts over days are no loop: only the kubelet's back-off tells.
        return pod.waiting_reason == "CrashLoopBackOff" and pod.restarts > HUB_RESTARTS

    def _waits_too_long(self, pod: Pod) -> bool:
        # A peer waits for the node of its plan, the hub for any: a new pod helps it less.
        patience = UNSCHEDULABLE_PATIENCE if pod.role is Role.PEER else self._hub_patience
        return (
            pod.waiting_reason == "Unschedulable"
            and pod.created is not None
            and self._now - pod.created > patience
        )


def _by_peer(pods: Iterable[Pod]) -> dict[int, list[Pod]]:
    found: dict[int, list[Pod]] = {}
    for pod in sorted(pods, key=_attempt):
        if pod.role is Role.PEER and pod.peer is not None:
            found.setdefault(pod.peer, []).append(pod)
    return found


def _attempt(pod: Pod) -> int:
    return pod.attempt


def _bad_job(pods: Iterable[Pod]) -> str | None:
    for pod in pods:
        if pod.exit_code == ExitCode.BAD_JOB:
            return pod.message or f"{pod.name} ended with exit code {ExitCode.BAD_JOB.value}."
    return None
