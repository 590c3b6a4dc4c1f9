"""An API server in a dictionary, with a hand that plays scheduler and kubelet. It can be told to fail
at the n-th write, as if the operator had been killed there."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from haversack_operator.cluster.base import ClusterError, Key, Manifest
from haversack_operator.cluster.kube_objects import planned_node
from haversack_operator.snapshot import Node

Id = tuple[str, str]


class Killed(BaseException):
    """The operator's process ended here."""


@dataclass
class FixedNodes:
    """Nodes that only a test changes."""

    all: tuple[Node, ...]

    def nodes(self, key: Key) -> tuple[Node, ...]:
        return self.all

    def claim(self, key: Key, seen: Iterable[Node], pods: Iterable[Manifest]) -> bool:
        return True

    def settle(self, key: Key, *, created: bool) -> None:
        """Nothing is held."""


@dataclass
class MemoryApi:
    """One namespace. Writes are counted, each by kind and name."""

    objects: dict[Id, dict[str, Any]] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    writes_left: int | None = None
    refuse: str | None = None
    """Kind that is refused from now on."""
    _numbers: int = 0

    async def get(
        self, kind: str, namespace: str | None, name: str, *, metadata_only: bool = False
    ) -> dict[str, Any] | None:
        return copy.deepcopy(self.objects.get((kind, name)))

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        return [copy.deepcopy(body) for (each, _), body in self.objects.items() if each == kind]

    async def apply(self, manifest: Manifest, sub: str = "") -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._write(f"apply{sub and f' {sub}'}", kind, name)
        body = self.objects.setdefault((kind, name), self._made(manifest))
        if sub:
            body[sub] = copy.deepcopy(dict(manifest[sub]))
        elif kind != "Pod":
            body |= {part: copy.deepcopy(manifest[part]) for part in manifest if part != "metadata"}

    async def create(self, manifest: Manifest) -> None:
        self._numbers += 1
        name = f"{manifest['metadata']['generateName']}{self._numbers}"
        self._write("create", manifest["kind"], name)
        self.objects[manifest["kind"], name] = self._made(manifest)

    async def delete(
        self, kind: str, namespace: str, name: str, grace_seconds: int | None = None
    ) -> None:
        self._write("delete", kind, name)
        body = self.objects.get((kind, name))
        if body is not None and kind == "Pod" and grace_seconds != 0:
            body["metadata"]["deletionTimestamp"] = "2026-09-01T12:00:00Z"
        else:
            self.objects.pop((kind, name), None)

    def names(self, *kinds: str) -> set[str]:
        """Names of all objects of these kinds that are not about to go."""
        return {
            name
            for (kind, name), body in self.objects.items()
            if kind in kinds and "deletionTimestamp" not in body["metadata"]
        }

    def kubelets(self, node: str) -> None:
        """Every pod that is told to go is gone, every other runs and is ready; one that may run
        anywhere is bound to ``node``."""
        for id_, body in list(self.objects.items()):
            if id_[0] != "Pod":
                continue
            if "deletionTimestamp" in body["metadata"]:
                del self.objects[id_]
                continue
            body["spec"].setdefault("nodeName", planned_node(body["spec"]) or node)
            body.setdefault("status", {}).update(
                phase="Running", conditions=[{"type": "Ready", "status": "True"}]
            )

    def ended(self, pod: str, exit_code: int, restarts: int) -> None:
        """A pod's container ended and is restarted in place."""
        end = {"terminated": {"exitCode": exit_code, "message": "its last words"}}
        state = {"restartCount": restarts, "lastState": end, "state": {"waiting": {}}}
        self.objects["Pod", pod]["status"]["containerStatuses"] = [state]

    def _write(self, verb: str, kind: str, name: str) -> None:
        if self.refuse == kind:
            raise ClusterError(f"{kind} is refused")
        if self.writes_left == 0:
            raise Killed
        if self.writes_left is not None:
            self.writes_left -= 1
        self.writes.append((verb, kind, name))

    def _made(self, manifest: Manifest) -> dict[str, Any]:
        body = copy.deepcopy(dict(manifest))
        self._numbers += 1
        body["metadata"] |= {"uid": f"uid-{self._numbers}", "resourceVersion": "1"}
        return body


def names_of(writes: Iterable[tuple[str, str, str]], verb: str) -> list[str]:
    """What was written with this verb."""
    return [name for each, _, name in writes if each == verb]
