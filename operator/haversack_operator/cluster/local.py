"""This machine as a ``Cluster``: the same code as on a real one, over an API server of its own.

Nodes are declared, pods are subprocesses. What a run needs to be continued is kept in a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.snapshot import Node, Pod, Snapshot
from haversack_trainer.contract.report import RunProgress

from .base import Actions, Key, Manifest
from .hubclient import HubClient
from .kube import KubeCluster
from .kube_objects import pod_from
from .local_api import LocalApi
from .local_state import Saved, StateFile
from .podrunner import BackOff

BACK_OFF = BackOff(base_seconds=2.0, max_seconds=60.0)
"""Quicker than a kubelet's: nobody else suffers from a crash loop here."""

STARTING_GRACE_SECONDS: Final = 2


class DeclaredNodes:
    """The inventory, less what was taken away."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.name: node for node in nodes}

    def nodes(self, key: Key) -> tuple[Node, ...]:
        """All of them: this cluster has one job only, so nobody else uses any."""
        del key
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    def claim(self, key: Key, seen: Iterable[Node], pods: Iterable[Manifest]) -> bool:
        """Nobody else takes any room."""
        del key, seen, pods
        return True

    def settle(self, key: Key, *, created: bool) -> None:
        """Nothing is held."""
        del key, created

    def remove(self, name: str) -> None:
        """It is not there any more."""
        self._nodes.pop(name, None)


class LocalCluster:
    """One job on this machine."""

    def __init__(
        self,
        saved: Saved,
        secrets: Iterable[Manifest],
        nodes: Iterable[Node],
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        meta = saved.job["metadata"]
        self.key = Key(meta["namespace"], meta["name"])
        self.progress: RunProgress | None = None
        """As seen in the newest look that reached the hub."""
        self._suspending = False
        self._news = asyncio.Event()
        self._state = StateFile(folder)
        self._given = (*secrets, *saved.plans, saved.job)
        self._nodes = DeclaredNodes(nodes)
        self._hub = HubClient()
        self._api = LocalApi(
            folder / "pods",
            environment=environment,
            back_off=BACK_OFF,
            changed=self._news.set,
        )
        self._kube = KubeCluster(self._api, self._nodes, self._hub)

    async def start(self) -> None:
        """Create what is given: Secrets, the job, the plans of a run that is continued."""
        for manifest in self._given:
            await self._api.apply(manifest)
        await self._keep()

    async def observe(self, key: Key, now: datetime) -> Snapshot | None:
        """As on a real cluster."""
        if (who := self._state.approval()) is not None:
            self._annotate(names.ANNOTATION_APPROVED_BY, who)
        snapshot = await self._kube.observe(key, now)
        if snapshot is not None and snapshot.progress is not None:
            self.progress = snapshot.progress
        return snapshot

    def claim(self, key: Key, snapshot: Snapshot, actions: Actions) -> bool:
        """As on a real cluster."""
        return self._kube.claim(key, snapshot, actions)

    async def apply(self, key: Key, actions: Actions) -> None:
        """As on a real cluster; then keep what a later run needs."""
        try:
            await self._kube.apply(key, self._let_go(actions))
        finally:
            await self._keep()

    async def job(self) -> dict[str, Any] | None:
        """The FineTuneJob as it is now; None once its time to live is over."""
        return await self._api.get(names.JOB_KIND, *self.key)

    def suspend(self) -> None:
        """Ask for a checkpoint and for the end of all pods."""
        self._suspending = True

        def change(body: dict[str, Any]) -> None:
            if not body["spec"].get("suspend"):
                body["spec"]["suspend"] = True
                body["metadata"]["generation"] += 1

        self._api.edit((names.JOB_KIND, *self.key), change)

    async def events(self) -> list[dict[str, Any]]:
        """Everything that was told to people, oldest first."""
        return await self._api.list("Event", self.key.namespace)

    async def news(self, timeout_seconds: float) -> None:
        """Return when a pod or an object has changed, at the latest after this long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        self._news.clear()

    async def pods(self) -> list[Pod]:
        """The job's pods as they are now."""
        return [pod_from(body) for body in await self._api.list("Pod", self.key.namespace)]

    def crash(self, pod: str) -> None:
        """SIGKILL to a pod's process."""
        self._api.running()[pod].crash()

    async def remove_node(self, name: str) -> None:
        """Unplug a node: it and everything on it is gone at once."""
        self._nodes.remove(name)
        await self._api.lose_node(name)

    async def close(self, *, at_once: bool = False) -> None:
        """Stop all pods, with their grace period or without."""
        await self._api.close(0 if at_once else None)
        await self._hub.close()

    def _let_go(self, actions: Actions) -> Actions:
        """Before the first round there is nothing to save: a peer that still waits for its model or
        its store is not waited for."""
        begun = self.progress is not None and self.progress.round > 0
        if begun or not self._suspending:
            return actions
        hasty = (replace(ref, grace_seconds=STARTING_GRACE_SECONDS) for ref in actions.delete)
        return replace(actions, delete=tuple(hasty))

    def _annotate(self, name: str, value: str) -> None:
        def change(body: dict[str, Any]) -> None:
            body["metadata"].setdefault("annotations", {})[name] = value

        self._api.edit((names.JOB_KIND, *self.key), change)

    async def _keep(self) -> None:
        job = await self.job()
        if job is not None:
            self._state.write(job, await self._api.list(names.PLAN_KIND, self.key.namespace))
