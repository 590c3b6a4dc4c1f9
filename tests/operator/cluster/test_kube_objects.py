"""API objects read into the snapshot's values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from operator_builders import SETTINGS, a_job

from haversack_operator.cluster.base import Key
from haversack_operator.cluster.kube_objects import node_from, pod_from, requests_of
from haversack_operator.cluster.kube_view import ClusterView
from haversack_operator.resources import peer_pod
from haversack_operator.snapshot import Amounts, Assignment, Role, Taint

MIB = 2**20


def a_pod(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = dict(peer_pod(a_job(), Assignment(1, "cpu", "n1", 16), 2, SETTINGS))
    body["metadata"] = {**body["metadata"], "uid": "u1"}
    body["spec"] = {**body["spec"], **spec}
    return {**body, "status": status or {}}


def told(**container: Any) -> dict[str, Any]:
    return {"phase": "Running", "containerStatuses": [{"restartCount": 3, **container}]}


def test_a_rendered_peer_is_read_back_as_it_was_meant() -> None:
    pod = pod_from(a_pod())
    assert (pod.role, pod.peer, pod.pool, pod.attempt) == (Role.PEER, 1, "cpu", 2)
    assert (pod.node, pod.micro_batch_size, pod.phase) == ("n1", 16, "Pending")
    assert pod.requests == Amounts(1000, 2048 * MIB, {})


ENDED = {
    "terminated": {
        "exitCode": 2,
        "message": "Traceback\n  no\n2026-11-26 17:30:39,549 ERROR dataset.uri: there is no file\n",
    }
}


@pytest.mark.parametrize("where", ["state", "lastState"])
def test_the_newest_end_counts_whether_restarted_since_or_not(where: str) -> None:
    pod = pod_from(a_pod(told(**{where: ENDED})))
    assert (pod.exit_code, pod.message) == (2, "dataset.uri: there is no file")
    assert pod.restarts == 3


def test_why_a_pod_waits() -> None:
    pulls = pod_from(a_pod(told(state={"waiting": {"reason": "ImagePullBackOff"}})))
    assert pulls.waiting_reason == "ImagePullBackOff"
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    assert pod_from(a_pod({"conditions": [condition]})).waiting_reason == "Unschedulable"


def asks(cpu: str, memory: str = "0", **more: Any) -> dict[str, Any]:
    return {"name": "x", "resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "millis"),
    [
        ({"containers": [asks("1"), asks("500m")]}, 1500),
        ({"containers": [asks("1")], "initContainers": [asks("3")]}, 3000),
        ({"containers": [asks("1")], "initContainers": [asks("250m", **SIDECAR)]}, 1250),
        (
            {
                "containers": [asks("500m")],
                "initContainers": [asks("1", **SIDECAR), asks("2")],
            },
            3000,
        ),
        (
            {
                "containers": [asks("500m")],
                "initContainers": [asks("2"), asks("1", **SIDECAR)],
            },
            2000,
        ),
        ({"containers": [asks("1")], "overhead": {"cpu": "50m"}}, 1050),
        (
            {
                "containers": [asks("500m")],
                "resources": {"requests": {"cpu": "4"}},
                "overhead": {"cpu": "50m"},
            },
            4050,
        ),
    ],
    ids=[
        "containers together",
        "a larger init container",
        "a sidecar runs on",
        "beside the sidecars before it",
        "not beside those after it",
        "overhead",
        "the pod's own word",
    ],
)
def test_requests_are_what_kube_scheduler_reserves(spec: dict[str, Any], millis: int) -> None:
    assert requests_of({"spec": spec}).cpu_millis == millis


def test_the_pods_own_word_is_by_resource() -> None:
    spec = {"containers": [asks("1", "1Gi")], "resources": {"requests": {"cpu": "2"}}}
    assert requests_of({"spec": spec}) == Amounts(2000, 1024 * MIB, {})


def test_a_node_is_ready_only_when_it_says_so() -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "n1"},
        "spec": {
            "taints": [
                {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
                {"key": "edge", "effect": "NoSchedule"},
            ]
        },
        "status": {
            "allocatable": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1", "pods": "9"}
        },
    }
    node = node_from(body)
    assert not node.ready
    assert node.taints == (Taint("edge", "NoSchedule"),)
    assert node.allocatable == Amounts(2000, 1024 * MIB, {"nvidia.com/gpu": 1})
    entry = {"type": "Ready", "lastTransitionTime": "2026-09-01T12:00:00Z"}
    body["status"]["conditions"] = [{**entry, "status": "True"}]
    assert node_from(body).ready
    assert node_from(body).down_since is None
    body["status"]["conditions"] = [{**entry, "status": "Unknown"}]
    assert node_from(body).down_since == datetime(2026, 9, 1, 12, tzinfo=UTC)


def test_a_nodes_room_is_what_everybody_but_the_jobs_own_peers_leaves() -> None:
    view = ClusterView()
    view.see_node({"metadata": {"name": "n1"}})
    stranger = a_pod(nodeName="n1")
    stranger["metadata"] = {"namespace": "team", "name": "x", "uid": "u2", "labels": {}}
    own = a_pod(nodeName="n1")
    for pod in (stranger, own, own):
        view.see_pod(pod)
    ours, theirs = Key("team", "one"), Key("team", "two")
    assert view.nodes(ours)[0].used.cpu_millis == 1000
    assert view.nodes(theirs)[0].used.cpu_millis == 2000
    assert view.see_pod({**own, "status": {"phase": "Succeeded"}})
    view.see_pod(stranger, gone=True)
    assert view.nodes(theirs)[0].used == Amounts()


def test_only_changes_that_placement_cares_for_are_news() -> None:
    view = ClusterView()
    body: dict[str, Any] = {"metadata": {"name": "n1"}, "status": {}}
    assert view.see_node(body)
    assert not view.see_node(
        {**body, "status": {"conditions": [{"type": "DiskPressure", "status": "False"}]}}
    )
    assert view.see_node({**body, "spec": {"unschedulable": True}})
    assert view.see_node(body, gone=True)
    assert view.nodes(Key("team", "one")) == ()
