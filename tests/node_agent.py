"""Nodes whose pods really run: what a kubelet does, with subprocesses for containers.

Nodes are real objects of a real API server, kube-scheduler binds the pods, their Secrets and ConfigMaps
become files, their ends and restarts are told in their status. One agent plays all nodes of a test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from admin_client import AdminClient, Answer

from haversack_operator.cluster.local_launch import Data, Place, decoded
from haversack_operator.cluster.local_network import LoopbackNetwork
from haversack_operator.cluster.podrunner import BackOff, PodRun

LOOK_SECONDS: Final = 0.3
BEAT_SECONDS: Final = 8.0
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
MERGE: Final = "application/merge-patch+json"
INHERITED: Final = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class PlayedNode:
    """A machine that this one pretends to be."""

    name: str
    architecture: str = "amd64"
    cpu: str = "4"
    memory: str = "16Gi"
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()

    def body(self) -> dict[str, Any]:
        own = {
            "kubernetes.io/arch": self.architecture,
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
        }
        return {
            "metadata": {"name": self.name, "labels": {**own, **self.labels}},
            "spec": {"taints": list(self.taints)},
        }

    def status(self, ready: str) -> dict[str, Any]:
        amounts = {"cpu": self.cpu, "memory": self.memory, "pods": "110", **self.devices}
        condition = {
            "type": "Ready",
            "status": ready,
            "reason": "NodeAgent",
            "lastHeartbeatTime": _now(),
        }
        return {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [condition]}}


class NodeAgent:
    """Runs in a thread of its own between ``start`` and ``stop``."""

    def __init__(self, client: AdminClient, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._network = LoopbackNetwork()
        self._nodes: dict[str, PlayedNode] = {}
        self._dead: set[str] = set()
        self._runs: dict[str, PodRun] = {}
        """By the pod's uid."""
        self._told: dict[str, Any] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Kill everything that still runs."""
        self._stopping.set()
        self._thread.join()
        self._loop.close()

    def add(self, node: PlayedNode) -> None:
        """Register a node; it is ready when this returns."""
        _good(self._client.request("POST", "/api/v1/nodes", node.body()))
        lease = {"metadata": {"name": node.name}, "spec": {"holderIdentity": node.name}}
        self._client.request("POST", LEASES, lease)
        self._beat(node)
        self._nodes[node.name] = node

    def unplug(self, name: str) -> None:
        """SIGKILL to everything on a node, and not a word from it any more.

        The node is told to be not ready at once, which the node controller would do after a minute.
        """
        self._dead.add(name)
        on_it = [run for run in self._runs.values() if run.pod["spec"]["nodeName"] == name]
        for run in on_it:
            asyncio.run_coroutine_threadsafe(run.stop(0), self._loop).result(30)
        path = f"/api/v1/nodes/{name}/status"
        _good(self._client.request("PATCH", path, self._nodes[name].status("Unknown"), MERGE))

    def crash(self, pod: str) -> None:
        """SIGKILL to a pod's process; it is restarted in place."""
        self._loop.call_soon_threadsafe(self._run_of(pod).crash)

    def crash_child(self, pod: str, number: int) -> None:
        """SIGKILL to one of the processes that a pod's process has started, in their order; what becomes of the
        others is its own business."""
        pid = self._run_of(pod).state.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(sorted(map(int, children))[number], signal.SIGKILL)

    def _run_of(self, pod: str) -> PodRun:
        (run,) = (run for run in self._runs.values() if run.pod["metadata"]["name"] == pod)
        return run

    def log_of(self, pod: str) -> str:
        """What a pod has written so far."""
        logs = sorted(self._folder.glob(f"{pod}.*/log.txt"))
        return "".join(path.read_text() for path in logs)

    async def _live(self) -> None:
        beat = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - beat > BEAT_SECONDS:
                beat = time.monotonic()
                for name in self._nodes.keys() - self._dead:
                    await asyncio.to_thread(self._beat, self._nodes[name])
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.gather(*(run.stop(0) for run in self._runs.values()), *self._ending)

    async def _look(self) -> None:
        answer = await asyncio.to_thread(self._client.request, "GET", "/api/v1/pods")
        pods = {
            pod["metadata"]["uid"]: pod
            for pod in _good(answer)["items"]
            if pod["spec"].get("nodeName") in self._nodes.keys() - self._dead
        }
        for uid, pod in pods.items():
            if uid not in self._runs and "deletionTimestamp" not in pod["metadata"]:
                self._runs[uid] = await self._run(uid, pod)
            if uid in self._runs:
                await self._attend(uid, pod)
            elif "deletionTimestamp" in pod["metadata"]:
                await asyncio.to_thread(self._remove, pod)
        for uid in self._runs.keys() - pods.keys():
            if self._runs[uid].pod["spec"]["nodeName"] not in self._dead:
                await self._runs.pop(uid).stop(0)

    async def _attend(self, uid: str, pod: dict[str, Any]) -> None:
        run, meta = self._runs[uid], pod["metadata"]
        status = run.status()
        if self._told.get(uid) != status:
            await asyncio.to_thread(self._tell, pod, status)
            self._told[uid] = status
        if "deletionTimestamp" in meta and uid not in {task.get_name() for task in self._ending}:
            grace = meta.get("deletionGracePeriodSeconds", 30)
            task = asyncio.create_task(self._end(uid, pod, grace), name=uid)
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, uid: str, pod: dict[str, Any], grace: float) -> None:
        await self._runs[uid].stop(grace)
        await asyncio.to_thread(self._tell, pod, self._runs[uid].status())
        await asyncio.to_thread(self._remove, pod)
        self._runs.pop(uid, None)

    async def _run(self, uid: str, pod: dict[str, Any]) -> PodRun:
        meta = pod["metadata"]
        listed = await asyncio.to_thread(self._client.request, "GET", "/api/v1/services")
        services = [{"kind": "Service", **service} for service in _good(listed)["items"]]
        body = {"kind": "Pod", **pod}
        place = Place(
            self._folder / f"{meta['name']}.{uid[:8]}",
            self._network.of_pod(body, services),
            self._network.hosts(services),
        )
        return PodRun(
            body,
            place,
            _Namespace(self._client, meta["namespace"]),
            environment={name: os.environ[name] for name in INHERITED if name in os.environ},
            back_off=BackOff(base_seconds=1.0),
            changed=lambda: None,
        )

    def _tell(self, pod: dict[str, Any], status: Mapping[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        self._client.request("PATCH", path, {"status": {**status, "startTime": _now()}}, MERGE)

    def _remove(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        self._client.request("DELETE", path, options)

    def _beat(self, node: PlayedNode) -> None:
        path = f"/api/v1/nodes/{node.name}/status"
        _good(self._client.request("PATCH", path, node.status("True"), MERGE))
        spec = {"spec": {"renewTime": datetime.now(UTC).isoformat(timespec="microseconds")}}
        self._client.request("PATCH", f"{LEASES}/{node.name}", spec, MERGE)


class _Namespace:
    """A namespace's ConfigMaps and Secrets, read when a pod starts."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self._client = client
        self._base = f"/api/v1/namespaces/{namespace}"

    def config_map(self, name: str) -> Data | None:
        return self._data("ConfigMap", f"{self._base}/configmaps/{name}")

    def secret(self, name: str) -> Data | None:
        return self._data("Secret", f"{self._base}/secrets/{name}")

    def _data(self, kind: str, path: str) -> Data | None:
        answer = self._client.request("GET", path)
        return None if answer.code == 404 else decoded({"kind": kind, **_good(answer)})


@contextmanager
def agent(client: AdminClient, folder: Path, *nodes: PlayedNode) -> Iterator[NodeAgent]:
    """An agent with these nodes; whatever it runs is killed at the end."""
    playing = NodeAgent(client, folder)
    for node in nodes:
        playing.add(node)
    playing.start()
    try:
        yield playing
    finally:
        playing.stop()


def _good(answer: Answer) -> dict[str, Any]:
    assert answer.code < 300, answer.message
    return answer.body


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
