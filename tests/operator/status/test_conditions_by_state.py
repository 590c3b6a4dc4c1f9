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
from status_cases import STATES

from haversack_operator.cluster.base import Actions
from haversack_operator.reconcile import decide
from haversack_operator.snapshot import Invalid, Job, Snapshot


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


def test_a_finished_job_stays_as_it_ended_even_if_its_spec_makes_no_sense_any_more() -> None:
    for passed in (True, False):
        published = a_publication() if passed else None
        end = a_progress(verdict=a_verdict(passed=passed), published=published)
        body = passes(a_snapshot(progress=end))
        broken = Invalid("one", "team", "uid", 2, "spec.model.uri: is missing", body["status"])
        after = passes(Snapshot(broken, NOW))
        assert conditions(after) == conditions(body)
        assert kstatus(after) == ("Current" if passed else "Failed")
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

    def writes(after: float, **more: Any) -> Actions:
        seen = a_snapshot(job, progress=a_progress(rounds=1000, **more))
        return decide(replace(seen, now=NOW + timedelta(seconds=after)), SETTINGS).actions

    assert writes(14, round=7).status is None
    assert writes(60, round=6).status is None
    by_clock = writes(15, round=7)
    assert by_clock.status is not None
    assert by_clock.status["progress"]["round"] == 7
    assert by_clock.plan_status is not None
    assert by_clock.plan_status[0] == "one-plan-1"
    assert [row["peer"] for row in by_clock.plan_status[1]["peers"]] == [0, 1]
    assert writes(1, round=16).status is not None


def test_a_peer_whose_clock_was_ahead_does_not_hold_up_what_is_written() -> None:
    def reports(hours: int) -> tuple[Any, ...]:
        time = (NOW + timedelta(hours=hours)).timestamp()
        return tuple(one.model_copy(update={"time": time}) for one in a_progress().peers)

    body = passes(a_snapshot(progress=a_progress(rounds=1000, peers=reports(2))))
    job = replace(a_job(), status=body["status"])
    later = a_snapshot(job, progress=a_progress(rounds=1000, round=7, peers=reports(0)))
    status = decide(replace(later, now=NOW + timedelta(minutes=1)), SETTINGS).actions.status
    assert status is not None
    assert status["progress"]["round"] == 7


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
    assert "remark" not in told["progress"]
    assert "epsilon" not in told["progress"]


def test_the_privacy_spent_by_the_peer_that_spent_most_is_told() -> None:
    spent = zip(a_progress().peers, (1.25, 3.5), strict=True)
    peers = tuple(peer.model_copy(update={"epsilon": epsilon}) for peer, epsilon in spent)
    told = passes(a_snapshot(progress=a_progress(peers=peers)))["status"]
    assert told["progress"]["epsilon"] == "3.5"


def test_what_the_method_decided_is_told() -> None:
    """A peer that has just come knows nothing of it."""
    new, old = a_progress().peers
    peers = (new, old.model_copy(update={"remark": "scheme Auto chose Full"}))
    told = passes(a_snapshot(progress=a_progress(peers=peers)))["status"]
    assert told["progress"]["remark"] == "scheme Auto chose Full"


def test_a_status_that_somebody_broke_is_written_anew() -> None:
    assert (
        passes(a_snapshot(a_job(status={"conditions": [{"type": "Ready"}]})))["status"][
            "peersSummary"
        ]
        == "2/2"
    )
