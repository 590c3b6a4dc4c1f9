"""An API server for one machine: objects in memory, pods as subprocesses.

It has the methods that ``KubeCluster`` needs of ``KubeClient``, so that the same code runs a job on a
real cluster and on this machine.
"""

from __future__ import annotations

import asyncio
import copy
import shutil
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .base import Manifest
from .kube_objects import planned_node
from .local_devices import of_this_machine
from .local_launch import Data, Place, decoded
from .local_network import LoopbackNetwork
from .podrunner import BackOff, PodRun

Id = tuple[str, str, str]
"""Kind, namespace (empty for cluster-wide), name."""


class LocalApi:
    """Everything in it is a manifest; a pod that is in it runs."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str],
        back_off: BackOff,
        changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._back_off = back_off
        self._changed = changed
        self._network = LoopbackNetwork()
        self._devices = of_this_machine(environment)
        self._objects: dict[Id, dict[str, Any]] = {}
        self._runs: dict[Id, PodRun] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def get(
        self, kind: str, namespace: str | None, name: str, *, metadata_only: bool = False
    ) -> dict[str, Any] | None:
        """An object, or None if there is none."""
        del metadata_only  # whole objects cost nothing here
        return self._seen((kind, namespace or "", name))

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind whose labels are as ``selector`` (``key=value,…``) says."""
        wanted = [pair.split("=", 1) for pair in selector.split(",") if pair]
        found = (self._seen(id_) for id_ in self._objects if id_[:2] == (kind, namespace or ""))
        return [
            body
            for body in found
            if body is not None
            and all(body["metadata"].get("labels", {}).get(key) == value for key, value in wanted)
        ]

    async def apply(self, manifest: Manifest, sub: str = "") -> None:
        """Create the object or bring it to what ``manifest`` says; a pod stays as it was made."""
        id_ = _id(manifest)
        present = self._objects.get(id_)
        if sub:
            if present is not None:
                present[sub] = copy.deepcopy(manifest[sub])
        elif present is None:
            self._create(id_, manifest)
        elif id_[0] != "Pod":
            fixed = {name: present["metadata"][name] for name in ("uid", "creationTimestamp")}
            self._objects[id_] = present | copy.deepcopy(dict(manifest))
            self._objects[id_]["metadata"] |= {**fixed, "resourceVersion": uuid.uuid4().hex}
        self._changed()

    async def create(self, manifest: Manifest) -> None:
        """Create an object under a generated name."""
        meta = manifest["metadata"]
        name = meta.get("name") or f"{meta['generateName']}{uuid.uuid4().hex[:8]}"
        named = {**manifest, "metadata": {**meta, "name": name}}
        self._create(_id(named), named)

    async def delete(
        self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None
    ) -> None:
        """Delete; a pod stays visible as "deleting" until its process has ended."""
        id_ = (kind, namespace or "", name)
        run, body = self._runs.get(id_), self._objects.get(id_)
        if body is None:
            return
        if run is None:
            del self._objects[id_]
        elif "deletionTimestamp" not in body["metadata"] or grace_seconds == 0:
            body["metadata"]["deletionTimestamp"] = _now()
            task = asyncio.create_task(self._end(id_, run, grace_seconds))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        self._changed()

    def edit(self, id_: Id, change: Callable[[dict[str, Any]], None]) -> None:
        """What a person would do with ``kubectl edit``; no error if the object is gone."""
        body = self._objects.get(id_)
        if body is not None:
            change(body)
            self._changed()

    def running(self) -> dict[str, PodRun]:
        """The pods by name."""
        return {id_[2]: run for id_, run in self._runs.items()}

    async def lose_node(self, node: str) -> None:
        """Everything on ``node`` is dead, as if its plug had been pulled. Its pods stay listed until
        somebody deletes them: no kubelet is left to do it."""
        lost = [run for run in self._runs.values() if run.pod["spec"]["nodeName"] == node]
        await asyncio.gather(*(run.stop(0) for run in lost))

    async def close(self, grace_seconds: float | None = None) -> None:
        """Stop every pod, with this or its own grace period."""
        ends = [self._end(id_, run, grace_seconds) for id_, run in self._runs.items()]
        await asyncio.gather(*ends, *self._stopping)

    def config_map(self, name: str, namespace: str) -> Data | None:
        """Content of a ConfigMap."""
        return self._data(("ConfigMap", namespace, name))

    def secret(self, name: str, namespace: str) -> Data | None:
        """Content of a Secret."""
        return self._data(("Secret", namespace, name))

    def _data(self, id_: Id) -> Data | None:
        body = self._objects.get(id_)
        return None if body is None else decoded(body)

    def _seen(self, id_: Id) -> dict[str, Any] | None:
        body = copy.deepcopy(self._objects.get(id_))
        if body is not None and id_ in self._runs:
            body["status"] = self._runs[id_].status()
            body["spec"]["nodeName"] = planned_node(body["spec"])
        return body

    def _create(self, id_: Id, manifest: Manifest) -> None:
        body = copy.deepcopy(dict(manifest))
        body["metadata"] = {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
            **body["metadata"],
        }
        self._objects[id_] = body
        if id_[0] == "Pod":
            self._runs[id_] = self._run(id_, body)

    def _run(self, id_: Id, body: dict[str, Any]) -> PodRun:
        _, namespace, name = id_
        services = [item for key, item in self._objects.items() if key[0] == "Service"]
        folder = self._folder / name
        # What an emptyDir held does not outlive its pod, not even one of the same name.
        shutil.rmtree(folder / "volumes", ignore_errors=True)
        pod = {**body, "spec": {**body["spec"], "nodeName": planned_node(body["spec"])}}
        return PodRun(
            pod,
            Place(folder, self._network.of_pod(body, services), self._network.hosts(services)),
            _Namespace(self, namespace),
            environment={**self._environment, **self._devices.take(name, pod)},
            back_off=self._back_off,
            changed=self._changed,
        )

    async def _end(self, id_: Id, run: PodRun, grace_seconds: float | None) -> None:
        await run.stop(grace_seconds)
        shutil.rmtree(run.place.folder / "volumes", ignore_errors=True)
        if self._runs.get(id_) is run:
            del self._runs[id_], self._objects[id_]
            self._devices.give_back(id_[2])
        self._changed()


class _Namespace:
    """A namespace's ConfigMaps and Secrets, as a pod may refer to them."""

    def __init__(self, api: LocalApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def config_map(self, name: str) -> Data | None:
        return self._api.config_map(name, self._namespace)

    def secret(self, name: str) -> Data | None:
        return self._api.secret(name, self._namespace)


def _id(manifest: Manifest) -> Id:
    meta = manifest["metadata"]
    return manifest["kind"], meta.get("namespace", ""), meta["name"]


def _now() -> str:
    return datetime.now(UTC).isoformat()
