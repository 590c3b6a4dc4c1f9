"""Room on nodes: what pods hold, what passes have claimed, and what a new listing must not lose."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

from job_cases import BASE
from operator_api import MemoryApi
from operator_builders import NOW, SETTINGS, a_job

from haversack_operator.cluster.base import Key
from haversack_operator.cluster.hubclient import HubClient
from haversack_operator.cluster.kube import KubeCluster
from haversack_operator.cluster.kube_view import ClusterView
from haversack_operator.reconcile import run
from haversack_operator.resources import hub_pod, peer_pod
from haversack_operator.snapshot import Assignment

GIB = 2**30
ONE, TWO = Key("team", "one"), Key("team", "two")


def a_node(name: str, memory: str = "4Gi") -> dict[str, Any]:
    status = {
        "allocatable": {"cpu": "8", "memory": memory},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {"metadata": {"name": name}, "spec": {}, "status": status}


def a_pod(peer: int, job: Key = ONE, node: str = "n1", attempt: int = 0) -> dict[str, Any]:
    """A peer of 2 GiB, as it is rendered: not bound yet."""
    rendered = peer_pod(
        replace(a_job(4), name=job.name), Assignment(peer, "cpu", node, 8), attempt, SETTINGS
    )
    return copy.deepcopy(dict(rendered))


def bound(pod: dict[str, Any], node: str = "n1") -> dict[str, Any]:
    body = copy.deepcopy(pod)
    body["metadata"]["uid"] = f"uid-{pod['metadata']['name']}"
    body["spec"]["nodeName"] = node
    return body | {"status": {"phase": "Running"}}


def a_view(*names: str) -> ClusterView:
    view = ClusterView()
    for name in names or ("n1",):
        view.see_node(a_node(name))
    return view


def used(view: ClusterView, key: Key) -> list[int]:
    return [node.used.memory_bytes // GIB for node in view.nodes(key)]


def test_a_pod_that_is_not_bound_yet_holds_the_room_it_was_told_to_take() -> None:
    view = a_view()
    view.see_pod(a_pod(0))
    assert (used(view, ONE), used(view, TWO)) == ([0], [2])
    view.see_pod(bound(a_pod(0)))
    assert used(view, TWO) == [2]


def test_a_hub_holds_room_where_it_best_goes_until_it_is_bound() -> None:
    view = a_view("n1", "n2")
    hub = copy.deepcopy(dict(hub_pod(a_job(), 0, SETTINGS, "n1")))
    view.see_pod(hub)
    assert [node.used.cpu_millis for node in view.nodes(ONE)] == [100, 0]
    view.see_pod(bound(hub, "n2"))
    assert [node.used.cpu_millis for node in view.nodes(ONE)] == [0, 100]


def test_of_two_jobs_that_saw_the_same_room_the_second_is_told_to_look_again() -> None:
    view = a_view("n1", "n2")
    seen = view.nodes(TWO)
    assert view.claim(ONE, view.nodes(ONE), [a_pod(0), a_pod(1)])
    assert used(view, TWO) == [4, 0]
    assert not view.claim(TWO, seen, [a_pod(0, TWO, "n2"), a_pod(1, TWO)])
    assert used(view, ONE) == [0, 0], "all or none"
    assert view.claim(TWO, seen, [a_pod(0, TWO, "n2")])


def test_others_may_take_what_is_not_needed() -> None:
    view = a_view()
    seen = view.nodes(TWO)
    assert view.claim(ONE, view.nodes(ONE), [a_pod(0)])
    assert view.claim(TWO, seen, [a_pod(0, TWO)])


def test_a_peers_own_old_pod_is_no_obstacle_to_the_next() -> None:
    view = a_view()
    for peer in range(2):
        view.see_pod(bound(a_pod(peer)))
    assert view.claim(ONE, view.nodes(ONE), [a_pod(0, attempt=1)])


def test_a_claim_is_void_when_the_pods_were_not_created() -> None:
    view = a_view()
    view.claim(ONE, view.nodes(ONE), [a_pod(0), a_pod(1)])
    view.see_pod(bound(a_pod(1)))
    view.settle(ONE, created=False)
    assert used(view, TWO) == [2]


def test_a_claim_stands_until_the_watch_tells_of_the_pod() -> None:
    view = a_view()
    view.claim(ONE, view.nodes(ONE), [a_pod(0)])
    view.settle(ONE, created=True)
    assert used(view, TWO) == [2]
    view.see_pod(bound(a_pod(0)), gone=True)
    assert used(view, TWO) == [0]


class Meanwhile(MemoryApi):
    """Something happens between the listing of nodes and that of pods."""

    happens: Any = None

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        found = await super().list(kind, namespace, selector)
        if kind == "Pod":
            self.happens()
        return found


async def test_what_happens_during_a_listing_is_not_lost() -> None:
    view = a_view()
    view.see_pod(bound(a_pod(2)))
    api = Meanwhile({("Node", "n1"): a_node("n1"), ("Pod", "x"): bound(a_pod(2))})

    def happens() -> None:
        view.see_node(a_node("n2"))
        view.see_pod(bound(a_pod(2)), gone=True)
        view.see_pod(bound(a_pod(0, node="n2"), "n2"))
        view.claim(ONE, view.nodes(ONE), [a_pod(1)])
        view.settle(ONE, created=True)

    api.happens = happens
    await view.refresh(api, (None,))
    assert [node.name for node in view.nodes(TWO)] == ["n1", "n2"]
    assert used(view, TWO) == [2, 2]


async def test_a_listing_drops_what_vanished_untold_but_no_claim_of_a_pass_under_way() -> None:
    view = a_view("n1", "n2")
    view.see_pod(bound(a_pod(0)))
    view.claim(ONE, view.nodes(ONE), [a_pod(1)])
    await view.refresh(MemoryApi({("Node", "n1"): a_node("n1")}), (None,))
    assert used(view, TWO) == [2]


async def test_two_gangs_side_by_side_on_room_for_one() -> None:
    """Both look before either has a pod; one is placed whole, the other not at all."""
    view = ClusterView()
    for name in ("n1", "n2"):
        view.see_node(a_node(name, "5Gi"))
    apis = {}
    for key in (ONE, TWO):
        body = copy.deepcopy(BASE)
        body["metadata"] = {**key._asdict(), "uid": f"u-{key.name}", "generation": 1}
        body["spec"]["pools"] = [{"name": "cpu", "peers": {"replicas": 4}}]
        body["spec"]["placement"] = {"minPeers": 4}
        apis[key] = MemoryApi({("FineTuneJob", key.name): body})
    clusters = {key: KubeCluster(api, view, HubClient()) for key, api in apis.items()}
    await asyncio.gather(*(run(key, clusters[key], NOW, SETTINGS) for key in apis))
    pods = {key.name: len(api.names("Pod")) for key, api in apis.items()}
    assert sorted(pods.values()) == [0, 5], pods
