"""The conditions of each state of a job, what kstatus makes of them, and what they survive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from kstatus import kstatus
from operator_builders import (
    NOW,
    SETTINGS,
    a_hub,
    a_job,
    a_peer,
    a_progress,
    a_publication,
    a_snapshot,
    a_verdict,
)

from haversack_operator.cluster.base import Actions
from haversack_operator.reconcile import decide
from haversack_operator.snapshot import Invalid, Job, Snapshot

EMPTY: dict[str, Any] = {"pods": (), "plan": None, "existing": frozenset()}
LATE = timedelta(seconds=601)


def passes(snapshot: Snapshot, *later: timedelta) -> dict[str, Any]:
    """The object after a pass, and after one more at each of the later times."""
    for wait in (timedelta(0), *later):
        snapshot = replace(snapshot, now=snapshot.now + wait)
        actions = decide(snapshot, SETTINGS).actions
        if actions.status is not None:
            snapshot = replace(snapshot, job=replace(snapshot.job, status=actions.status))
    meta = {"generation": snapshot.job.generation}
    return {"metadata": meta, "status": dict(snapshot.job.status)}


def conditions(body: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: f"{one['status']} {one['reason']}" for one in body["status"]["conditions"]}


GANG = a_job(placement={"minPeers": 2})
IMAGE = a_peer(0, ready=False, phase="Pending", waiting_reason="ImagePullBackOff")
CRASH = a_peer(0, ready=False, exit_code=1, restarts=1, message="out of memory")
STATES: dict[str, tuple[Snapshot, tuple[timedelta, ...], str, dict[str, str]]] = {
    "just placed": (a_snapshot(**EMPTY), (), "InProgress", {"Placed": "True PlanApplied"}),
    "starting": (
        a_snapshot(pods=(a_hub(), *(a_peer(peer, ready=False) for peer in range(2)))),
        (LATE,),
        "InProgress",
        {"PeersReady": "False Starting", "Reconciling": "True Starting"},
    ),
    "training": (a_snapshot(progress=a_progress()), (), "Current", {"Ready": "True Training"}),
    "training, one peer short": (
        a_snapshot(pods=(a_hub(), CRASH, a_peer(1))),
        (),
        "Current",
        {"Ready": "True Training"},
    ),
    "a crash loop": (
        a_snapshot(GANG, pods=(a_hub(), CRASH, a_peer(1))),
        (),
        "InProgress",
        {"PeersReady": "False PeerCrashLoop"},
    ),
    "no image yet": (
        a_snapshot(GANG, pods=(a_hub(), IMAGE, a_peer(1))),
        (),
        "InProgress",
        {"PeersReady": "False ImagePull"},
    ),
    "no image for long": (
        a_snapshot(GANG, pods=(a_hub(), IMAGE, a_peer(1))),
        (LATE,),
        "Failed",
        {"Stalled": "True ImagePull"},
    ),
    "no room yet": (
        a_snapshot(nodes=(), **EMPTY),
        (),
        "InProgress",
        {"Placed": "False CannotPlace"},
    ),
    "no room for long": (
        a_snapshot(nodes=(), **EMPTY),
        (LATE,),
        "Failed",
        {"Stalled": "True CannotPlace"},
    ),
    "a secret is missing": (
        a_snapshot(missing_secrets=("keys",), **EMPTY),
        (),
        "InProgress",
        {"Accepted": "False MissingSecret", "Reconciling": "True MissingSecret"},
    ),
    "a secret is missing for long": (
        a_snapshot(missing_secrets=("keys",), **EMPTY),
        (LATE,),
        "Failed",
        {"Stalled": "True MissingSecret"},
    ),
    "refused": (
        a_snapshot(refusal="exceeded quota: tight"),
        (),
        "Failed",
        {"Stalled": "True Refused"},
    ),
    "a namesake is still there": (
        a_snapshot(leftovers=("Pod one--cpu-0-0",), **EMPTY),
        (),
        "InProgress",
        {"Placed": "False Pending"},
    ),
    "stopping": (a_snapshot(a_job(suspend=True)), (), "InProgress", {"Suspended": "True Stopping"}),
    "stopped": (
        a_snapshot(a_job(suspend=True), pods=()),
        (),
        "InProgress",
        {"Suspended": "True Stopped"},
    ),
    "waits for a person": (
        a_snapshot(
            a_job(evaluation={"gate": {"approval": "Manual"}}),
            progress=a_progress(verdict=a_verdict()),
        ),
        (),
        "Current",
        {"Ready": "True AwaitingApproval", "GatePassed": "False AwaitingApproval"},
    ),
    "published": (
        a_snapshot(progress=a_progress(verdict=a_verdict(), published=a_publication())),
        (timedelta(0), LATE),
        "Current",
        {
            "Complete": "True AdapterPublished",
            "Ready": "True AdapterPublished",
            "GatePassed": "True GatePassed",
        },
    ),
    "gate failed": (
        a_snapshot(progress=a_progress(verdict=a_verdict(passed=False))),
        (timedelta(0), LATE),
        "Failed",
        {"Failed": "True GateFailed", "Stalled": "True GateFailed", "Complete": "False GateFailed"},
    ),
    "invalid": (
        Snapshot(Invalid("one", "team", "uid", 3, "spec.model.uri: is missing"), NOW),
        (),
        "Failed",
        {"Accepted": "False InvalidSpec", "Stalled": "True InvalidSpec"},
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_conditions_and_kstatus_of(state: str) -> None:
    snapshot, later, health, expected = STATES[state]
    body = passes(snapshot, *later)
    assert kstatus(body) == health
    found = conditions(body)
    assert {each: found.get(each) for each in expected} == expected
    assert not {"Reconciling", "Stalled"} <= found.keys()
    generations = {one["observedGeneration"] for one in body["status"]["conditions"]}
    assert generations == {body["metadata"]["generation"], body["status"]["observedGeneration"]}


@pytest.mark.parametrize("state", [state for state in STATES if state != "just placed"])
def test_a_second_look_writes_nothing(state: str) -> None:
    snapshot, later, _, _ = STATES[state]
    body = passes(snapshot, *later)
    now = snapshot.now + sum(later, timedelta(0))
    again = replace(snapshot, now=now, job=replace(snapshot.job, status=body["status"]))
    assert decide(again, SETTINGS).actions.status is None


def test_times_move_only_when_the_status_does() -> None:
    starting = a_snapshot(pods=(a_hub(), a_peer(0, ready=False)))
    first = passes(starting)
    assert isinstance(starting.job, Job)
    job = replace(starting.job, status=first["status"], generation=2)
    second = passes(replace(a_snapshot(job), now=NOW + timedelta(minutes=1)))
    times = {one["type"]: one["lastTransitionTime"] for one in second["status"]["conditions"]}
    assert times["Placed"] == "2026-09-01T12:00:00Z"
    assert times["PeersReady"] == times["Ready"] == "2026-09-01T12:01:00Z"


def test_a_finished_job_stays_as_it_ended_whatever_comes_after() -> None:
    over = a_snapshot(progress=a_progress(verdict=a_verdict(), published=a_publication()))
    body = passes(over)
    assert isinstance(over.job, Job)
    job = replace(a_job(suspend=True), status=body["status"], generation=2)
    after = passes(replace(over, job=job, progress=None, pods=(), plan=None))
    assert conditions(after) == conditions(body)
    assert after["status"]["adapter"]["uri"] == "s3://bucket/runs/one/adapter"
    assert after["status"]["observedGeneration"] == 2


def test_what_cannot_be_seen_now_stays_as_it_was() -> None:
    body = passes(a_snapshot(progress=a_progress()))
    job = replace(a_job(), status=body["status"])
    after = passes(a_snapshot(job, progress=None, pods=(a_hub(ready=False), a_peer(0), a_peer(1))))
    assert after["status"]["progress"] == body["status"]["progress"]
    assert conditions(after)["CheckpointFresh"] == "True Saved"


def test_a_checkpoint_gets_stale_after_two_periods() -> None:
    fresh = passes(a_snapshot(progress=a_progress(round=15, checkpoint_round=5)))
    assert conditions(fresh)["CheckpointFresh"] == "True Saved"
    stale = passes(a_snapshot(progress=a_progress(round=16, checkpoint_round=5)))
    assert conditions(stale)["CheckpointFresh"] == "False Stale"
    never = passes(a_snapshot(progress=a_progress(checkpoint_round=None)))
    assert conditions(never)["CheckpointFresh"] == "False NeverSaved"


def test_progress_is_written_by_the_percent_or_by_the_clock() -> None:
    body = passes(a_snapshot(progress=a_progress(rounds=1000)))
    job = replace(a_job(), status=body["status"])

    def writes(**more: Any) -> Actions:
        return decide(a_snapshot(job, progress=a_progress(rounds=1000, **more)), SETTINGS).actions

    def reports(seconds: float) -> tuple[Any, ...]:
        time = NOW.timestamp() + seconds
        return tuple(one.model_copy(update={"time": time}) for one in a_progress().peers)

    assert writes(round=7, peers=reports(14)).status is None
    by_clock = writes(round=7, peers=reports(15))
    assert by_clock.status is not None
    assert by_clock.status["progress"]["round"] == 7
    assert by_clock.plan_status is not None
    assert by_clock.plan_status[0] == "one-plan-1"
    assert [row["peer"] for row in by_clock.plan_status[1]["peers"]] == [0, 1]
    assert writes(round=16, peers=reports(1)).status is not None


def test_figures_are_strings_and_nan_is_left_out() -> None:
    peers = tuple(
        one.model_copy(update={"loss": float("nan"), "seconds_per_round": None})
        for one in a_progress().peers
    )
    progress = passes(a_snapshot(progress=a_progress(peers=peers)))["status"]["progress"]
    assert "loss" not in progress
    assert "estimatedRemainingSeconds" not in progress
    told = passes(a_snapshot(progress=a_progress()))["status"]
    assert told["progress"]["loss"] == "0.5"
    assert told["progress"]["estimatedRemainingSeconds"] == 28
    assert told["traffic"] == {"bytesSent": 200, "bytesReceived": 400}


def test_a_status_that_somebody_broke_is_written_anew() -> None:
    assert (
        passes(a_snapshot(a_job(status={"conditions": [{"type": "Ready"}]})))["status"][
            "peersSummary"
        ]
        == "2/2"
    )
