"""What happens to a running job, and the condition that each reaches, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from job_cases import BASE
from operator_world import World
from waiting import wait_for

pytestmark = pytest.mark.cluster
PEERS = ("one--cpu-0-0", "one--cpu-1-0")


def start(world: World, **spec: Any) -> None:
    """A job ``one`` whose two peers and hub run."""
    world.add_job("one", BASE, **spec)
    for pod in (*world.wait_pods("one", *PEERS), *world.pods("one", "hub")):
        world.runs(pod)
    world.wait_condition("one", "Ready", "True", "Training")


def edit(world: World, **spec: Any) -> None:
    answer = world.patch("FineTuneJob", "one", {"spec": spec})
    assert answer.code == 200, answer.message


def test_suspending_stops_peers_then_the_hub_and_resuming_starts_them(world: World) -> None:
    start(world)
    edit(world, suspend=True)
    wait_for(lambda: not world.pods("one"))
    assert world.pods("one", "hub")
    wait_for(world.reap)
    world.wait_condition("one", "Suspended", "True", "Stopped")
    edit(world, suspend=False)
    wait_for(lambda: len(world.pods("one")) == 2)
    world.wait_condition("one", "Suspended", "False")


def test_a_lost_node_means_a_fresh_pod_elsewhere(world: World) -> None:
    start(world)
    lost = world.pods("one")[PEERS[0]]["spec"]["nodeName"]
    world.delete("Node", lost)

    def moved() -> bool:
        for name, pod in world.pods("one").items():
            if "nodeName" not in pod["spec"]:
                world.runs(name)
        pods = world.pods("one")
        return len(pods) == 2 and all(
            pod["spec"].get("nodeName", lost) != lost for pod in pods.values()
        )

    wait_for(moved)
    assert "one--cpu-0-1" in world.pods("one")


def test_a_peer_that_keeps_crashing_is_replaced_and_then_fails_the_job(world: World) -> None:
    start(world, failurePolicy={"maxRestarts": 1, "maxReplacements": 1})
    world.ended(PEERS[0], 1, restarts=1)
    world.ended(PEERS[0], 1, restarts=2)
    world.wait_pods("one", "one--cpu-0-1", PEERS[1])
    wait_for(lambda: world.status("one")["replacements"] == 1)
    world.runs("one--cpu-0-1")
    world.ended("one--cpu-0-1", 1, "CUDA is gone", restarts=2)
    failed = world.wait_condition("one", "Failed", "True", "TooManyReplacements")
    assert "CUDA is gone" in failed["message"]


def test_a_node_that_a_peer_calls_unfit_is_avoided(world: World) -> None:
    start(world)
    bad = world.pods("one")[PEERS[0]]["spec"]["nodeName"]
    world.ended(PEERS[0], 42, "no room on the disk")
    world.wait_pods("one", "one--cpu-0-1", PEERS[1])
    plan = wait_for(lambda: world.get("FineTunePlan", "one-plan-2"))
    assert plan["spec"]["avoidedNodes"] == [bad]
    assert plan["spec"]["peers"][0]["node"] != bad


def test_a_job_that_cannot_work_fails_with_the_trainers_own_words(world: World) -> None:
    start(world)
    world.ended(PEERS[1], 2, "dataset.uri: s3://corpus/support has no file")
    failed = world.wait_condition("one", "Failed", "True", "BadJob")
    assert failed["message"] == "dataset.uri: s3://corpus/support has no file"
    assert world.condition("one", "Stalled")["status"] == "True"
    wait_for(world.reap)


def test_a_missing_secret_is_named_and_waited_for(world: World) -> None:
    storage = {"uri": "s3://bucket/runs", "s3": {"secretRef": {"name": "keys"}}}
    world.add_job("one", BASE, storage=storage)
    accepted = world.wait_condition("one", "Accepted", "False", "MissingSecret")
    assert "keys" in accepted["message"]
    assert not world.pods("one")
    world.create(
        "Secret", {"metadata": {"name": "keys"}, "stringData": {"AWS_SECRET_ACCESS_KEY": "x"}}
    )
    world.wait_pods("one", *PEERS)


def test_a_gang_that_does_not_fit_says_why(world: World) -> None:
    pools = [{"name": "cpu", "peers": {"replicas": 2}, "resources": {"memory": "64Gi"}}]
    world.add_job("one", BASE, pools=pools, placement={"timeoutSeconds": 1})
    placed = world.wait_condition("one", "Placed", "False", "CannotPlace")
    assert "memory" in placed["message"]
    world.wait_condition("one", "Stalled", "True", "CannotPlace")
    assert not world.pods("one")


def test_a_deadline_fails_the_job_and_a_time_to_live_removes_it(world: World) -> None:
    start(world, activeDeadlineSeconds=2, ttlSecondsAfterFinished=1)
    wait_for(lambda: world.get("FineTuneJob", "one") is None)
    reasons = {event["reason"] for event in world.list("Event")}
    assert "DeadlineExceeded" in reasons


def test_what_the_api_server_refuses_is_told_in_the_status(world: World) -> None:
    quota = {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}}
    world.create("ResourceQuota", quota)
    world.patch("ResourceQuota", "tight", {"status": {"hard": {"pods": "1"}}}, "status")
    world.add_job("one", BASE)
    stalled = world.wait_condition("one", "Stalled", "True", "Refused")
    assert "quota" in stalled["message"]


def test_no_second_pod_is_made_while_events_lag_behind(world: World) -> None:
    """Many passes in a row over fresh pods: each reads what is, not what it was told."""
    start(world)
    for number in range(20):
        edit(world, checkpoint={"periodRounds": 5 + number})
    wait_for(lambda: world.status("one")["observedGeneration"] >= 20)
    made = [pod["metadata"]["name"] for pod in world.list("Pod")]
    assert sorted(made) == sorted((*PEERS, "one-hub-0"))
