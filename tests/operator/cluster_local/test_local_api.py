"""An API server of one machine does what ``KubeCluster`` relies on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from haversack_operator.cluster.local_api import LocalApi
from haversack_operator.cluster.podrunner import BackOff

SLEEP = "import time; time.sleep(60)"


def a_pod(name: str, program: str = SLEEP, node: str = "gpu-a", **labels: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team", "labels": labels},
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 5,
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
            },
            "containers": [
                {
                    "name": "trainer",
                    "command": [sys.executable, "-c", program],
                    "env": [{"name": "HUB", "value": "hub.team.svc:8443"}],
                }
            ],
        },
    }


class Served:
    """An API and a way to wait for its pods."""

    def __init__(self, folder: Path) -> None:
        self._news = asyncio.Event()
        self.api = LocalApi(
            folder,
            environment=dict(os.environ),
            back_off=BackOff(base_seconds=0.01),
            changed=self._news.set,
        )

    async def until(
        self, name: str, holds: Callable[[dict[str, Any] | None], bool]
    ) -> dict[str, Any] | None:
        async with asyncio.timeout(30):
            while not holds(body := await self.api.get("Pod", "team", name)):
                self._news.clear()
                await self._news.wait()
        return body


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    served = Served(folder)
    try:
        yield served
    finally:
        await served.api.close(0)


def running(body: dict[str, Any] | None) -> bool:
    return body is not None and body["status"]["phase"] == "Running"


async def test_objects_keep_their_identity_when_applied_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        plan = {"kind": "Plan", "metadata": {"name": "p", "namespace": "team"}, "spec": 1}
        await served.api.apply(plan)
        before = await served.api.get("Plan", "team", "p")
        await served.api.apply({**plan, "spec": 2})
        await served.api.apply({**plan, "status": {"rows": 3}}, "status")
        after = await served.api.get("Plan", "team", "p")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert (after["spec"], after["status"]) == (2, {"rows": 3})


async def test_lists_are_by_namespace_and_labels(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for name, namespace, job in (("a", "team", "x"), ("b", "team", "y"), ("c", "other", "x")):
            labels = {"job": job}
            meta = {"name": name, "namespace": namespace, "labels": labels}
            await served.api.apply({"kind": "ConfigMap", "metadata": meta})
        found = await served.api.list("ConfigMap", "team", "job=x")
    assert [body["metadata"]["name"] for body in found] == ["a"]


async def test_a_pod_runs_until_it_is_deleted_and_is_seen_to_go(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.api.apply(a_pod("p"))
        body = await served.until("p", running)
        assert body is not None
        assert body["spec"]["nodeName"] == "gpu-a"
        await served.api.delete("Pod", "team", "p")
        leaving = await served.api.get("Pod", "team", "p")
        assert leaving is not None
        assert "deletionTimestamp" in leaving["metadata"]
        await served.until("p", lambda gone: gone is None)


async def test_applying_a_pod_twice_starts_it_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.api.apply(a_pod("p"))
        first = await served.until("p", running)
        await served.api.apply(a_pod("p"))
        assert await served.api.get("Pod", "team", "p") == first


async def test_a_lost_node_takes_its_pods_along_but_not_their_names(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.api.apply(a_pod("lost"))
        await served.api.apply(a_pod("safe", node="gpu-b"))
        for name in ("lost", "safe"):
            await served.until(name, running)
        await served.api.lose_node("gpu-a")
        lost = await served.api.get("Pod", "team", "lost")
        assert lost is not None
        assert not running(lost)
        assert running(await served.api.get("Pod", "team", "safe"))
        await served.api.delete("Pod", "team", "lost", 0)
        await served.until("lost", lambda gone: gone is None)


async def test_a_services_address_outlives_the_pod_behind_it(tmp_path: Path) -> None:
    service = {
        "kind": "Service",
        "metadata": {"name": "hub", "namespace": "team"},
        "spec": {"selector": {"role": "hub"}},
    }
    async with serving(tmp_path) as served:
        await served.api.apply(service)
        addresses = []
        for name in ("hub-0", "hub-1"):
            await served.api.apply(a_pod(name, role="hub"))
            body = await served.until(name, running)
            assert body is not None
            addresses.append(body["status"]["podIP"])
        program = "import os; open('seen', 'w').write(os.environ['HUB'])"
        await served.api.apply(a_pod("peer", program))
        await served.until(
            "peer", lambda body: body is not None and body["status"]["phase"] == "Succeeded"
        )
    assert len(set(addresses)) == 1
    assert (tmp_path / "peer/seen").read_text() == f"{addresses[0]}:8443"


async def test_scratch_space_does_not_outlive_its_pod(tmp_path: Path) -> None:
    program = "import os; p = os.environ['WORK']; print(os.listdir(p)); open(p + '/x', 'w')"
    pod = a_pod("p", program)
    pod["spec"]["volumes"] = [{"name": "work", "emptyDir": {}}]
    (container,) = pod["spec"]["containers"]
    container["volumeMounts"] = [{"name": "work", "mountPath": "/scratch"}]
    container["env"] = [{"name": "WORK", "value": "/scratch"}]
    async with serving(tmp_path) as served:
        for _ in range(2):
            await served.api.apply(pod)
            await served.until(
                "p", lambda body: body is not None and body["status"]["phase"] == "Succeeded"
            )
            await served.api.delete("Pod", "team", "p")
            await served.until("p", lambda gone: gone is None)
    assert (tmp_path / "p/log.txt").read_text() == "[]\n[]\n"
