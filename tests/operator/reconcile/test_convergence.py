"""A pass that is cut off between any two writes is finished by the next ones, on the real
``KubeCluster`` over an API server in memory."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from job_cases import BASE
from operator_api import FixedNodes, Killed, MemoryApi
from operator_builders import NODES, NOW, SETTINGS

from haversack_operator.cluster.base import ClusterError, Key
from haversack_operator.cluster.hubclient import HubClient
from haversack_operator.cluster.kube import KubeCluster
from haversack_operator.reconcile import run

KEY = Key("team", "one")
JOB = ("FineTuneJob", "one")


class Place:
    """A cluster, and an operator that can be killed and started again."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.nodes = FixedNodes(NODES)
        self.now = NOW
        body = copy.deepcopy(BASE)
        body["metadata"] = {"name": "one", "namespace": "team", "uid": "u-job", "generation": 1}
        body["spec"]["failurePolicy"] = {"maxRestarts": 0}
        self.api.objects[JOB] = body
        self.start()

    def start(self) -> None:
        """A fresh operator that remembers nothing."""
        self.cluster = KubeCluster(self.api, self.nodes, HubClient())

    async def settle(self) -> None:
        """Passes until nothing is written any more, with kubelets at work in between."""
        for _ in range(10):
            self.api.kubelets(self.nodes.all[-1].name)
            before = len(self.api.writes)
            self.now += timedelta(seconds=5)
            await run(KEY, self.cluster, self.now, SETTINGS)
            if len(self.api.writes) == before:
                return
        raise AssertionError(f"does not settle: {self.api.writes[-20:]}")

    async def settle_though_killed(self, after_writes: int) -> bool:
        """The same, but the first operator dies after some writes. False if it did not come to that."""
        self.api.writes_left = after_writes
        try:
            await self.settle()
        except Killed:
            self.api.writes_left = None
            self.start()
            await self.settle()
            return True
        self.api.writes_left = None
        return False

    def spec(self, **changes: Any) -> None:
        self.api.objects[JOB]["spec"] |= changes
        self.api.objects[JOB]["metadata"]["generation"] += 1

    def state(self) -> dict[str, Any]:
        """Everything that should be the same in the end: names, plan, conditions."""
        status = self.api.objects[JOB]["status"]
        return {
            "names": sorted(name for kind, name in self.api.objects if kind != "Event"),
            "plans": [
                body["spec"]
                for (kind, _), body in self.api.objects.items()
                if kind == "FineTunePlan"
            ],
            "conditions": [
                (one["type"], one["status"], one["reason"]) for one in status["conditions"]
            ],
            "peers": status["peersSummary"],
        }


def crash(place: Place) -> None:
    place.api.ended("one--cpu-0-0", 1, restarts=1)


def lose_node(place: Place) -> None:
    pod = place.api.objects["Pod", "one--cpu-0-0"]
    place.nodes.all = tuple(node for node in NODES if node.name != pod["spec"]["nodeName"])


def suspend(place: Place) -> None:
    place.spec(suspend=True)


def nothing(place: Place) -> None:
    """Only the start itself."""


@pytest.mark.parametrize("happening", [nothing, crash, lose_node, suspend])
async def test_a_pass_cut_off_anywhere_converges(happening: Any) -> None:
    whole = Place()
    if happening is not nothing:
        await whole.settle()
    happening(whole)
    await whole.settle()
    for after_writes in range(100):
        place = Place()
        if happening is not nothing:
            await place.settle()
        happening(place)
        if not await place.settle_though_killed(after_writes):
            assert after_writes > 0
            return
        assert json.dumps(place.state(), sort_keys=True) == json.dumps(
            whole.state(), sort_keys=True
        ), f"killed after {after_writes} writes"
    raise AssertionError("it never ran through")


async def test_a_settled_job_is_read_and_not_written() -> None:
    place = Place()
    await place.settle()
    written = len(place.api.writes)
    for _ in range(5):
        place.now += timedelta(minutes=1)
        await run(KEY, place.cluster, place.now, SETTINGS)
    assert len(place.api.writes) == written


async def test_what_somebody_deleted_is_made_again() -> None:
    place = Place()
    await place.settle()
    for id_ in (("Service", "one-hub"), ("Secret", "one-tls"), ("Pod", "one--cpu-1-0")):
        del place.api.objects[id_]
    place.now += timedelta(minutes=6)
    await place.settle()
    assert place.api.names("Service", "Secret", "Pod") == {
        "one-hub",
        "one-tls",
        "one-hub-0",
        "one--cpu-0-0",
        "one--cpu-1-1",
    }


async def test_a_refusal_still_reaches_the_status_and_is_got_over() -> None:
    place = Place()
    place.api.refuse = "Pod"
    for _ in range(2):
        with pytest.raises(ClusterError):
            await run(KEY, place.cluster, place.now, SETTINGS)
    assert ("apply status", "FineTuneJob", "one") in place.api.writes
    place.api.refuse = None
    await place.settle()
    assert place.state()["peers"] == "2/2"


async def test_a_job_that_is_gone_is_forgotten() -> None:
    place = Place()
    await place.settle()
    del place.api.objects[JOB]
    assert (await run(KEY, place.cluster, place.now, SETTINGS)).gone


async def test_a_job_waits_for_what_a_namesake_left_behind() -> None:
    """Nothing of the old job is taken over, its certificates least of all."""
    place = Place()
    await place.settle()
    before = place.api.objects["Secret", "one-tls"]["data"]["ca.crt"]
    place.api.objects[JOB]["metadata"]["uid"] = "u-other"
    del place.api.objects[JOB]["status"]
    written = len(place.api.writes)
    await run(KEY, place.cluster, place.now, SETTINGS)
    assert {kind for _, kind, _ in place.api.writes[written:]} <= {"FineTuneJob", "Event"}
    for id_ in [id_ for id_ in place.api.objects if id_ != JOB]:
        del place.api.objects[id_]
    await place.settle()
    assert place.state()["peers"] == "2/2"
    assert place.api.objects["Secret", "one-tls"]["data"]["ca.crt"] != before
