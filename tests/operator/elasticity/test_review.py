"""Which pods are counted on, which are given up, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_builders import NODES, NOW, a_hub, a_job, a_peer, a_snapshot

from haversack_operator.elasticity import Cause, Review, review, seconds_to_losses
from haversack_operator.snapshot import Pod

POOLS = {0: "cpu", 1: "cpu", 2: "cpu"}


def judged(*pods: Pod) -> Review:
    return review(a_job(3), a_snapshot(pods=pods), POOLS)


def test_the_newest_pod_of_a_peer_counts_and_older_ones_go() -> None:
    found = judged(a_hub(), a_peer(0, attempt=1), a_peer(0, attempt=2), a_peer(0, attempt=10))
    assert found.healthy[0].attempt == 10
    assert {loss.pod.attempt for loss in found.losses} == {1, 2}
    assert found.next_attempt == {0: 11}
    assert found.counted == ()


def test_only_what_the_peer_did_wrong_is_counted() -> None:
    found = judged(
        a_peer(0, ready=False, restarts=4, exit_code=1),
        a_peer(1, node="gone"),
        a_peer(2, disrupted=True),
        a_hub(phase="Failed", ready=False),
    )
    causes = {loss.pod.name: loss.cause for loss in found.losses}
    assert causes == {
        "one--cpu-0-0": Cause.CRASHED,
        "one--cpu-1-0": Cause.NODE_LOST,
        "one--cpu-2-0": Cause.DISRUPTED,
        "one-hub-0": Cause.FAILED,
    }
    assert len(found.counted) == 1


def test_a_lost_node_is_not_asked_for_a_graceful_end() -> None:
    lost, crashed = judged(a_peer(0, node="gone"), a_peer(1, exit_code=42)).losses
    assert (lost.grace_seconds, crashed.grace_seconds) == (0, None)


def test_a_node_that_is_not_ready_is_lost() -> None:
    down = (replace(NODES[0], ready=False), NODES[1])
    found = review(a_job(3), a_snapshot(nodes=down, pods=(a_peer(0), a_peer(1, node="n2"))), POOLS)
    assert set(found.healthy) == {1}


LOOPS: Any = {"ready": False, "exit_code": 1, "waiting_reason": "CrashLoopBackOff"}
NO_ROOM: Any = {"phase": "Pending", "ready": False, "waiting_reason": "Unschedulable"}


def test_a_node_that_is_not_ready_gets_a_moment() -> None:
    """One late heartbeat is no reason to end hub and peers by force."""
    for seconds, seen in ((44, {0, 1}), (45, {1})):
        down = replace(NODES[0], ready=False, down_since=NOW - timedelta(seconds=seconds))
        pods = (a_peer(0), a_peer(1, node="n2"))
        snapshot = a_snapshot(nodes=(down, NODES[1]), pods=pods)
        assert set(review(a_job(3), snapshot, POOLS).healthy) == seen
        assert seconds_to_losses(snapshot) == ([1.0] if seconds == 44 else [])


@pytest.mark.parametrize(
    ("hub", "cause"),
    [
        (a_hub(restarts=99), None),
        (a_hub(restarts=99, ready=False, exit_code=1), None),
        (a_hub(restarts=3, **LOOPS), None),
        (a_hub(restarts=4, **LOOPS), Cause.CRASHED),
        (a_hub(created=NOW - timedelta(seconds=600), **NO_ROOM), None),
        (a_hub(created=NOW - timedelta(seconds=601), **NO_ROOM), Cause.UNSCHEDULABLE),
        (a_hub(phase="Succeeded", ready=False, exit_code=0), Cause.FAILED),
    ],
)
def test_a_hub_is_restarted_in_place_until_that_does_not_help(
    hub: Pod, cause: Cause | None
) -> None:
    """Restarts in place keep the log; a fresh pod may land on another node."""
    found = judged(hub)
    assert [loss.cause for loss in found.losses] == ([] if cause is None else [cause])
    assert (found.hub is None) is (cause is not None)
    assert found.counted == ()


def test_last_words_are_told() -> None:
    (event,) = judged(a_peer(0, exit_code=42, message="the disk is full")).events
    assert (event.type, event.reason) == ("Warning", "BadNode")
    assert "the disk is full" in event.message


@given(
    st.lists(
        st.builds(
            a_peer,
            st.integers(0, 2),
            attempt=st.integers(0, 3),
            node=st.sampled_from(["n1", "n2", "gone"]),
            phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
            ready=st.booleans(),
            restarts=st.integers(0, 5),
            exit_code=st.sampled_from([None, 0, 1, 42, 75]),
            deleting=st.booleans(),
            disrupted=st.booleans(),
        ),
        max_size=8,
        unique_by=lambda pod: pod.name,
    )
)
def test_every_pod_is_either_counted_on_given_up_or_already_going(pods: list[Pod]) -> None:
    found = judged(*pods)
    kept = {pod.name for pod in found.healthy.values()}
    lost = {loss.pod.name for loss in found.losses}
    assert kept.isdisjoint(lost)
    assert {pod.name for pod in pods} - kept - lost <= {pod.name for pod in pods if pod.deleting}
    for peer, attempt in found.next_attempt.items():
        assert attempt > max(pod.attempt for pod in pods if pod.peer == peer)


def test_a_peer_whose_pods_are_all_gone_goes_on_counting() -> None:
    """The run log knows attempt 2, and turns away whoever comes with less."""
    job = a_job(3, status={"attempts": [3, 0, 1], "hubAttempts": 2})
    found = review(job, a_snapshot(pods=(a_peer(2, attempt=4),)), POOLS)
    assert found.next_attempt == {0: 3, 2: 5}
    assert found.next_hub_attempt == 2
    assert review(job, a_snapshot(pods=(a_hub(attempt=6),)), POOLS).next_hub_attempt == 7
    assert judged(a_peer(0)).next_hub_attempt == 1
    assert judged().next_hub_attempt == 0
