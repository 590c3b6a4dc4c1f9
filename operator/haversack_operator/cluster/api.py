"""The seam below ``KubeCluster``: an API server, real (``kube_client``) or of one machine (``local_api``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from haversack_operator.snapshot import Node

from .base import Key, Manifest


class Api(Protocol):
    """Objects as JSON. Every method may raise ``ClusterError``."""

    async def get(
        self, kind: str, namespace: str | None, name: str, *, metadata_only: bool = False
    ) -> dict[str, Any] | None:
        """An object, or None if there is none."""

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind as they are now."""

    async def apply(self, manifest: Manifest, sub: str = "") -> None:
        """Server-side apply of an object or its sub-resource."""

    async def create(self, manifest: Manifest) -> None:
        """Create an object with a generated name."""

    async def delete(
        self, kind: str, namespace: str, name: str, grace_seconds: int | None = None
    ) -> None:
        """Delete in the background; no error if it is gone."""


class Nodes(Protocol):
    """What placement needs of the cluster beyond the job itself."""

    def nodes(self, key: Key) -> tuple[Node, ...]:
        """All nodes, by name, with what everybody but this job's peers uses."""

    def claim(self, key: Key, seen: Iterable[Node], pods: Iterable[Manifest]) -> bool:
        """Hold room for pods that are about to be created; False if others took it meanwhile."""

    def settle(self, key: Key, *, created: bool) -> None:
        """The pods of the newest claim were created, or they were not."""
