"""Small jobs, pods and snapshots for the operator's pure rooms."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from job_cases import BASE
from placement_builders import a_node

from haversack_operator.api.parse import parse_spec
from haversack_operator.resources import PodSettings
from haversack_operator.snapshot import Amounts, Assignment, Job, PlanView, Pod, Role, Snapshot
from haversack_trainer.contract.report import (
    Evaluation,
    PeerReport,
    PeerState,
    Publication,
    RunProgress,
    Verdict,
)

NOW: Final = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
SETTINGS: Final = PodSettings("registry.test/trainer:1")
NODES: Final = (a_node("n1"), a_node("n2"))


def a_job(peers: int = 2, status: dict[str, Any] | None = None, **spec: Any) -> Job:
    """A job ``one`` with one pool ``cpu``; ``spec`` sets whole top-level fields."""
    body = copy.deepcopy(BASE)
    body["metadata"] = {"name": "one", "namespace": "team"}
    body["spec"]["pools"] = [{"name": "cpu", "peers": {"replicas": peers}}]
    body["spec"] |= spec
    return Job(
        name="one",
        namespace="team",
        uid="0123456789abcdef",
        generation=1,
        spec=parse_spec(body),
        created=NOW - timedelta(minutes=5),
        status=status or {},
    )


def a_peer(peer: int, *, attempt: int = 0, node: str = "n1", **more: Any) -> Pod:
    """A ready peer of pool ``cpu``."""
    pod = Pod(
        name=f"one--cpu-{peer}-{attempt}",
        role=Role.PEER,
        phase="Running",
        node=node,
        peer=peer,
        pool="cpu",
        attempt=attempt,
        ready=True,
        requests=Amounts(1000, 2 * 2**30),
        micro_batch_size=32,
        created=NOW - timedelta(minutes=1),
    )
    return replace(pod, **more)


def a_hub(*, attempt: int = 0, node: str = "n1", **more: Any) -> Pod:
    """A ready hub."""
    pod = Pod(
        name=f"one-hub-{attempt}",
        role=Role.HUB,
        phase="Running",
        node=node,
        attempt=attempt,
        ready=True,
        ip="10.0.0.9",
        created=NOW - timedelta(minutes=1),
    )
    return replace(pod, **more)


def a_plan(peers: int = 2, revision: int = 1, node: str = "n1") -> PlanView:
    """All peers on one node."""
    rows = tuple(Assignment(peer, "cpu", node, 32) for peer in range(peers))
    return PlanView(f"one-plan-{revision}", revision, rows, "0")


EVERYTHING: Final = frozenset(
    {("Service", "one-hub"), ("ConfigMap", "one-job"), ("NetworkPolicy", "one")}
)


def a_snapshot(job: Job | None = None, **more: Any) -> Snapshot:
    """A job with two peers that runs as wanted."""
    steady: dict[str, Any] = {
        "nodes": NODES,
        "pods": (a_hub(), a_peer(0), a_peer(1)),
        "plan": a_plan(),
        "key_pairs": frozenset({"ca", "hub", "operator", "peer-0", "peer-1"}),
        "existing": EVERYTHING,
    }
    return Snapshot(job or a_job(), NOW, **(steady | more))


def a_progress(**more: Any) -> RunProgress:
    """Round 6 of 20, two peers reporting."""
    reports = tuple(
        PeerReport(
            peer=peer,
            state=PeerState.TRAINING,
            round=6,
            loss=0.5,
            bytes_sent=100,
            bytes_received=200,
            seconds_per_round=2.0,
            time=NOW.timestamp(),
        )
        for peer in range(2)
    )
    told = RunProgress(
        run=a_job().run, view=(0, 1), round=6, rounds=20, peers=reports, checkpoint_round=5
    )
    return told.model_copy(update=more)


def an_evaluation(loss: float = 0.7) -> Evaluation:
    return Evaluation(round=20, loss=loss, accuracy=0.8, num_samples=100)


def a_verdict(*, passed: bool = True) -> Verdict:
    return Verdict(
        passed=passed,
        reason="loss 0.7 against 1.9" if passed else "loss 2.0 against 1.9",
        round=20,
        before=an_evaluation(1.9),
        after=an_evaluation(),
        interval=(-1.3, -1.1),
        adapter_digest="sha256:00",
    )


def a_publication() -> Publication:
    return Publication(
        uri="s3://bucket/runs/one/adapter", digest="sha256:00", size_bytes=9, round=20
    )
