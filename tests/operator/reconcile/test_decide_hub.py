"""``decide``: what becomes of the hub, and of a run whose hub was lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from decisions import EMPTY, act, applied, condition, deleted, told
from operator_builders import (
    EVERYTHING,
    NOW,
    a_hub,
    a_job,
    a_peer,
    a_plan,
    a_progress,
    a_snapshot,
)

from haversack_operator.snapshot import Pod, Snapshot
from haversack_trainer.contract.environment import AWAIT_LOG


def test_a_hub_that_vanished_is_not_taken_for_the_first() -> None:
    """Attempt 0 would start an empty log at once, while peers still have the run's."""
    new = told(a_snapshot(**EMPTY))
    assert new.job.status["hubAttempts"] == 1
    gone = replace(new, pods=(a_peer(0), a_peer(1)), plan=a_plan(), existing=EVERYTHING)
    actions = act(gone)
    assert applied(actions) == ["one-hub-1"]
    assert actions.status is not None
    assert actions.status["hubAttempts"] == 2


def awaits_log(snapshot: Snapshot) -> bool:
    (hub,) = (one for one in act(snapshot).apply if one["metadata"]["name"].startswith("one-hub-"))
    variables = hub["spec"]["containers"][0]["env"]
    return {"name": AWAIT_LOG, "value": "1"} in variables


def test_a_hub_waits_for_the_log_only_where_peers_run_that_hold_it() -> None:
    new = told(a_snapshot(**EMPTY))
    assert not awaits_log(new)
    lost = replace(new, pods=(a_peer(0), a_peer(1)), plan=a_plan(), existing=EVERYTHING)
    assert awaits_log(lost)
    resumed = replace(lost, pods=())
    assert not awaits_log(resumed)
    assert not awaits_log(replace(lost, pods=(a_peer(0, phase="Pending"),)))


def test_a_hub_that_was_refused_is_not_counted_again() -> None:
    new = told(a_snapshot(**EMPTY))
    again = act(replace(new, refusal="exceeded quota: tight"))
    assert again.status is not None
    assert again.status["hubAttempts"] == 1


def test_a_lost_hub_is_made_anew() -> None:
    actions = act(a_snapshot(pods=(a_hub(node="gone"), a_peer(0), a_peer(1))))
    assert applied(actions) == ["one-hub-1"]
    assert deleted(actions) == ["one-hub-0"]


def test_a_hub_that_crashes_on_is_made_anew() -> None:
    hub = a_hub(ready=False, restarts=4, exit_code=1, waiting_reason="CrashLoopBackOff")
    actions = act(a_snapshot(pods=(hub, a_peer(0), a_peer(1))))
    assert applied(actions) == ["one-hub-1"]
    assert deleted(actions) == ["one-hub-0"]
    assert condition(actions, "Ready") == ("False", "Starting")


def done(peer: int, **more: Any) -> Pod:
    return a_peer(peer, phase="Succeeded", ready=False, exit_code=0, **more)


FRESH_HUB = a_hub(attempt=1, created=NOW)
EMPTY_LOG = a_progress(view=(), round=0, peers=(), num_records=0)


def test_all_peers_that_are_done_do_the_end_again_when_their_hub_was_lost() -> None:
    """Nobody is left to fill the new hub's log: the newest checkpoint is the run. It is not their
    fault, so that even a job that may not replace anybody gets over it."""
    job = a_job(failurePolicy={"maxReplacements": 0})
    lost = a_snapshot(job, pods=(FRESH_HUB, done(0), done(1)))
    assert not act(lost).apply
    actions = act(replace(lost, progress=EMPTY_LOG))
    assert applied(actions) == ["one--cpu-0-1", "one--cpu-1-1"]
    assert {event.reason for event in actions.events if event.type == "Normal"} >= {"Forgotten"}
    assert actions.status is not None
    assert actions.status["replacements"] == 0
    assert condition(actions, "Failed") == ("False", "InProgress")
    again = (a_peer(0, attempt=1, created=NOW), a_peer(1, attempt=1, created=NOW))
    assert not act(replace(lost, pods=(FRESH_HUB, *again), progress=EMPTY_LOG)).apply


def test_a_peer_that_is_done_stays_done_while_another_may_bring_the_log_back() -> None:
    pods = (FRESH_HUB, done(0), a_peer(1))
    assert not act(a_snapshot(pods=pods, progress=EMPTY_LOG)).apply
    refilled = a_progress(num_records=9)
    assert applied(act(a_snapshot(pods=pods, progress=refilled))) == ["one--cpu-0-1"]
    young = (FRESH_HUB, done(0), a_peer(1, attempt=1, created=NOW + timedelta(seconds=1)))
    assert applied(act(a_snapshot(pods=young, progress=EMPTY_LOG))) == ["one--cpu-0-1"]


def test_a_peer_that_ends_without_being_done_is_its_own_fault() -> None:
    """Whatever its image does: the hub that it ended under is still there."""
    hub = a_hub(created=NOW - timedelta(hours=1))
    actions = act(a_snapshot(pods=(hub, done(0), a_peer(1)), progress=a_progress()))
    assert applied(actions) == ["one--cpu-0-1"]
    assert actions.status is not None
    assert actions.status["replacements"] == 1
