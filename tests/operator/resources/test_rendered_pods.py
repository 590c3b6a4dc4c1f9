"""Pods as they are rendered: security, placement, certificates, resources."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_builders import SETTINGS, a_job

from haversack_operator.cluster.base import Manifest
from haversack_operator.cluster.kube_objects import planned_node
from haversack_operator.resources import hub_pod, peer_pod, shared_objects
from haversack_operator.snapshot import Assignment, Job
from haversack_trainer.contract import environment

RICH: dict[str, Any] = {
    "priorityClassName": "batch-high",
    "model": {"uri": "pvc://models/minilm", "task": "SequenceClassification"},
    "dataset": {"uri": "pvc://corpus/support"},
    "storage": {"uri": "s3://bucket/runs", "s3": {"secretRef": {"name": "keys"}}},
    "runtime": {
        "image": "registry.test/own:2",
        "imagePullSecrets": ["pull"],
        "serviceAccountName": "trainer",
    },
    "pools": [
        {
            "name": "orin",
            "accelerator": {"count": 1, "memory": "6Gi"},
            "resources": {"cpu": "2", "memory": "10Gi"},
            "nodeSelector": {"edge": "yes"},
            "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
            "image": "registry.test/l4t:36",
            "runtimeClassName": "nvidia",
        },
        {"name": "any", "tolerations": [{"operator": "Exists"}]},
    ],
}


def peer(job: Job, pool: str = "cpu", ordinal: int = 0, attempt: int = 0) -> Manifest:
    return peer_pod(job, Assignment(ordinal, pool, "n1", 16), attempt, SETTINGS)


def container(pod: Manifest) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def env(pod: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container(pod)["env"]}


def secret_items(pod: Manifest) -> set[str]:
    (volume,) = (one for one in pod["spec"]["volumes"] if "secret" in one)
    return {item["key"] for item in volume["secret"]["items"]}


@pytest.mark.parametrize("pod", [peer(a_job()), hub_pod(a_job(), 0, SETTINGS)])
def test_pods_are_as_locked_up_as_they_can_be(pod: Manifest) -> None:
    spec, inside = pod["spec"], container(pod)["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    resources = container(pod)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_a_pod_sees_its_own_key_only() -> None:
    assert secret_items(peer(a_job(), ordinal=1)) == {"ca.crt", "peer-1.crt", "peer-1.key"}
    assert secret_items(hub_pod(a_job(), 0, SETTINGS)) == {"ca.crt", "hub.crt", "hub.key"}


def test_only_peers_get_the_stores_credentials() -> None:
    job = a_job(**RICH)
    assert container(peer(job, "orin"))["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert "envFrom" not in container(hub_pod(job, 0, SETTINGS))


def test_a_peer_runs_on_its_planned_node_or_nowhere() -> None:
    pod = peer(a_job())
    assert planned_node(pod["spec"]) == "n1"
    assert "nodeName" not in pod["spec"]


def test_what_the_pool_says_is_honoured() -> None:
    pod = peer(a_job(**RICH), "orin")
    spec, resources = pod["spec"], container(pod)["resources"]
    assert container(pod)["image"] == "registry.test/l4t:36"
    assert resources["limits"] == {"memory": "10Gi", "nvidia.com/gpu": "1"}
    assert resources["requests"] == {"cpu": "2", "memory": "10Gi", "nvidia.com/gpu": "1"}
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"edge": "yes"}
    assert spec["tolerations"] == [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["priorityClassName"] == "batch-high"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["serviceAccountName"] == "trainer"
    claims = [
        one["persistentVolumeClaim"]["claimName"]
        for one in spec["volumes"]
        if "persistentVolumeClaim" in one
    ]
    assert claims == ["corpus", "models"]
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert {"/mnt/haversack/corpus", "/mnt/haversack/models", "/tmp"} <= mounts


def test_the_hub_goes_where_peers_may_but_not_to_nodes_that_are_down() -> None:
    pod = hub_pod(a_job(**RICH), 0, SETTINGS)
    assert [one.get("key") for one in pod["spec"]["tolerations"]] == ["edge"]
    assert container(pod)["image"] == "registry.test/own:2"


def test_every_variable_that_a_peer_is_told_is_one_that_the_trainer_knows() -> None:
    known = {value for name, value in vars(environment).items() if name.isupper()}
    hub = env(hub_pod(a_job(), 1, SETTINGS, awaits_log=True))
    told = set(env(peer(a_job()))) | set(hub)
    assert told - {"POD_IP"} <= known
    assert env(peer(a_job(), attempt=3))[environment.ATTEMPT] == "3"
    assert hub[environment.AWAIT_LOG] == "1"
    assert environment.AWAIT_LOG not in env(hub_pod(a_job(), 1, SETTINGS))
    assert env(peer(a_job()))[environment.HUB_URL] == "https://one-hub.team.svc:8443"


@given(st.integers(0, 255), st.integers(0, 999_999))
def test_names_and_labels_keep_their_limits(ordinal: int, attempt: int) -> None:
    pod = peer(a_job(256), ordinal=ordinal, attempt=attempt)
    meta = pod["metadata"]
    assert len(meta["name"]) <= 63
    assert all(len(value) <= 63 for value in meta["labels"].values())


def test_everything_belongs_to_the_job_and_does_not_hold_up_its_deletion() -> None:
    job = a_job()
    for body in (*shared_objects(job), peer(job), hub_pod(job, 0, SETTINGS)):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (job.uid, True)
        assert owner["blockOwnerDeletion"] is False


def test_from_pod_to_pod_peers_reach_one_another_on_known_ports() -> None:
    first, last = environment.GROUP_PORTS
    direct, relay = a_job(network={"bulk": "Direct"}), a_job()
    (address,) = (
        one for one in container(peer(direct))["env"] if one["name"] == environment.ADDRESS
    )
    assert address["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert peer(direct)["spec"]["securityContext"]["sysctls"] == [
        {"name": "net.ipv4.ip_local_port_range", "value": f"{first} {last}"}
    ]
    assert environment.ADDRESS not in env(peer(relay))
    assert "sysctls" not in peer(relay)["spec"]["securityContext"]
    assert "sysctls" not in hub_pod(direct, 0, SETTINGS)["spec"]["securityContext"]

    def ingress(job: Job) -> list[dict[str, Any]]:
        (policy,) = (body for body in shared_objects(job) if body["kind"] == "NetworkPolicy")
        found: list[dict[str, Any]] = policy["spec"]["ingress"]
        return found

    assert ingress(direct)[:1] == ingress(relay)
    (more,) = ingress(direct)[1:]
    assert more["from"] == ingress(relay)[0]["from"][:1]
    assert more["ports"] == [{"port": first, "endPort": last, "protocol": "TCP"}]


def test_without_a_network_policy_none_is_made() -> None:
    kinds = [body["kind"] for body in shared_objects(a_job(networkPolicy={"enabled": False}))]
    assert kinds == ["ConfigMap", "Service"]


SHARDED: dict[str, Any] = {
    "method": {"type": "FlexDeMo", "flexDeMo": {"sharding": "ZeRO2"}},
    "pools": [
        {"name": "gpu", "accelerator": {"count": 4}},
        {"name": "cpu", "processes": 4},
    ],
}


@pytest.mark.parametrize("pool", ["gpu", "cpu"])
def test_a_pod_whose_processes_share_the_model_out_is_still_one_container(pool: str) -> None:
    pod = peer(a_job(**SHARDED), pool)
    told = env(pod)
    assert told[environment.PROCESSES] == "4"
    assert told[environment.INTERFACE] == "lo"
    assert told[environment.EXTENSIONS].startswith(environment.WORK_MOUNT + "/")
    (shm,) = (one for one in pod["spec"]["volumes"] if one["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container(pod)["volumeMounts"]


def test_devices_alone_do_not_make_several_processes() -> None:
    """A method that cannot use them keeps the one process that it had."""
    pod = peer(a_job(pools=[{"name": "gpu", "accelerator": {"count": 4}}]), "gpu")
    assert environment.PROCESSES not in env(pod)
    assert all(one["name"] != "shm" for one in pod["spec"]["volumes"])
