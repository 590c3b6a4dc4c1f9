"""What a job becomes on a real API server, in a namespace that enforces Pod Security restricted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from job_cases import BASE
from operator_process import OperatorProcess
from operator_world import World
from waiting import wait_for

from haversack_trainer.contract.environment import GROUP_PORTS, PROCESSES
from haversack_trainer.contract.jobfile import JobFile

pytestmark = pytest.mark.cluster


def owned_by(body: dict[str, Any] | None, job: dict[str, Any]) -> bool:
    assert body is not None
    (owner,) = body["metadata"]["ownerReferences"]
    return bool(owner["uid"] == job["metadata"]["uid"] and owner["controller"])


def test_everything_a_job_needs_is_made(world: World) -> None:
    job = world.add_job("full", BASE)
    pods = world.wait_pods("full", "full--cpu-0-0", "full--cpu-1-0")
    (hub,) = world.pods("full", "hub").values()
    made = [
        ("ConfigMap", "full-job"),
        ("Service", "full-hub"),
        ("NetworkPolicy", "full"),
        ("Secret", "full-tls"),
        ("FineTunePlan", "full-plan-1"),
    ]
    for kind, name in made:
        assert owned_by(world.get(kind, name), job), name
    assert all(owned_by(pod, job) for pod in (hub, *pods.values()))
    config = world.get("ConfigMap", "full-job") or {}
    assert JobFile.model_validate_json(config["data"]["job.json"]).num_peers == 2
    secret = world.get("Secret", "full-tls") or {}
    names = {name.removesuffix(".crt") for name in secret["data"] if name.endswith(".crt")}
    assert names == {"ca", "hub", "operator", "peer-0", "peer-1"}
    plan = world.get("FineTunePlan", "full-plan-1") or {}
    assert [row["peer"] for row in plan["spec"]["peers"]] == [0, 1]


def test_pods_that_reach_one_another_are_restricted_too(world: World) -> None:
    world.add_job("direct", BASE, network={"bulk": "Direct"})
    pods = world.wait_pods("direct", "direct--cpu-0-0", "direct--cpu-1-0")
    first, last = GROUP_PORTS
    for pod in pods.values():
        (ports,) = pod["spec"]["securityContext"]["sysctls"]
        assert ports["value"] == f"{first} {last}"
    policy = world.get("NetworkPolicy", "direct") or {}
    (_, between) = policy["spec"]["ingress"]
    assert [(port["port"], port["endPort"]) for port in between["ports"]] == [(first, last)]


def test_pods_of_several_processes_are_restricted_too(world: World) -> None:
    method = {"type": "FlexDeMo", "flexDeMo": {"sharding": "ZeRO1"}}
    pools = [{"name": "cpu", "peers": {"replicas": 2}, "processes": 2}]
    world.add_job("sharded", BASE, method=method, pools=pools)
    pods = world.wait_pods("sharded", "sharded--cpu-0-0", "sharded--cpu-1-0")
    for pod in pods.values():
        (container,) = pod["spec"]["containers"]
        told = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert told[PROCESSES] == "2"
        assert "/dev/shm" in {mount["mountPath"] for mount in container["volumeMounts"]}
    plan = world.get("FineTunePlan", "sharded-plan-1") or {}
    assert [row["peer"] for row in plan["spec"]["peers"]] == [0, 1]


def test_a_job_gets_ready_and_nothing_of_kopf_is_written(
    world: World, operator: OperatorProcess
) -> None:
    world.add_job("steady", BASE)
    peers = world.wait_pods("steady", "steady--cpu-0-0", "steady--cpu-1-0")
    for pod in (*peers, *world.pods("steady", "hub")):
        world.runs(pod)
    world.wait_condition("steady", "Ready", "True", "Training")
    wait_for(lambda: world.status("steady").get("peersSummary") == "2/2")
    body = world.get("FineTuneJob", "steady") or {}
    assert "annotations" not in body["metadata"]
    assert "finalizers" not in body["metadata"]
    reasons = {event["reason"] for event in world.list("Event")}
    assert {"PlanApplied", "MinPeersReady"} <= reasons, operator.log.read_text()


def test_an_idle_job_costs_no_write(world: World) -> None:
    world.add_job("idle", BASE, reporting={"periodSeconds": 1})
    for pod in world.wait_pods("idle", "idle--cpu-0-0", "idle--cpu-1-0"):
        world.runs(pod)
    wait_for(lambda: world.status("idle").get("peersSummary") == "2/2")
    before = len(requests(world))
    wait_for(lambda: sum(one["verb"] == "get" for one in requests(world)[before:]) >= 3)
    assert {one["verb"] for one in requests(world)[before:]} <= {"get", "list", "watch"}


def requests(world: World) -> list[dict[str, Any]]:
    """What the operator asked of this namespace, from the audit log."""
    lines = (world.client.folder / "audit.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [
        one
        for one in entries
        if one.get("userAgent", "").startswith("haversack-operator")
        and one.get("objectRef", {}).get("namespace") == world.namespace
    ]
