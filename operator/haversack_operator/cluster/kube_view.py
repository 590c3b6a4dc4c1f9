"""Nodes and what pods ask of them, kept up to date by watch events.

Only placement reads this. A job's own objects are always read live: see
``docs/decisions/0006-own-objects-are-read-live.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from haversack_operator.api import names
from haversack_operator.snapshot import Amounts, Node, Role

from .api import Api
from .base import Key
from .kube_objects import node_from, plus, requests_of

FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pod holds of its node."""

    node: str
    amounts: Amounts
    peer_of: Key | None


@dataclass
class ClusterView:
    """Everything that placement needs of the cluster beyond the job itself."""

    _nodes: dict[str, Node] = field(default_factory=dict)
    _claims: dict[str, Claim] = field(default_factory=dict)
    """By the pod's uid."""
    _used: dict[str, Amounts] = field(default_factory=dict)
    _own: dict[Key, set[str]] = field(default_factory=dict)

    def see_node(self, body: Mapping[str, Any], *, gone: bool = False) -> bool:
        """Take in a node; True if it changed in a way that placement cares for."""
        name = body["metadata"]["name"]
        before = self._nodes.get(name)
        if gone:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node_from(body)
        return self._nodes.get(name) != before

    def see_pod(self, body: Mapping[str, Any], *, gone: bool = False) -> bool:
        """Take in any pod of the cluster; True if a node got room."""
        uid = body["metadata"]["uid"]
        claim = None if gone else _claim(body)
        before = self._claims.get(uid)
        if claim == before:
            return False
        if before is not None:
            self._count(uid, before, -1)
        if claim is not None:
            self._count(uid, claim, 1)
        return claim is None

    def nodes(self, key: Key) -> tuple[Node, ...]:
        """All nodes, by name, with what everybody but this job's peers uses."""
        own: dict[str, Amounts] = {}
        for uid in self._own.get(key, ()):
            claim = self._claims[uid]
            own[claim.node] = plus(own.get(claim.node, Amounts()), claim.amounts)
        return tuple(
            replace(node, used=plus(self._used.get(name, Amounts()), own.get(name, Amounts()), -1))
            for name, node in sorted(self._nodes.items())
        )

    async def refresh(self, api: Api, namespaces: tuple[str | None, ...]) -> None:
        """Start over from live lists: a watch that was cut never tells what vanished meanwhile."""
        nodes = await api.list("Node", None)
        pods = [pod for namespace in namespaces for pod in await api.list("Pod", namespace)]
        fresh = ClusterView()
        for node in nodes:
            fresh.see_node(node)
        for pod in pods:
            fresh.see_pod(pod)
        self._nodes, self._claims = fresh._nodes, fresh._claims
        self._used, self._own = fresh._used, fresh._own

    def _count(self, uid: str, claim: Claim, sign: int) -> None:
        used = self._used.get(claim.node, Amounts())
        self._used[claim.node] = plus(used, claim.amounts, sign)
        if sign > 0:
            self._claims[uid] = claim
        else:
            del self._claims[uid]
        if claim.peer_of is not None:
            own = self._own.setdefault(claim.peer_of, set())
            (own.add if sign > 0 else own.discard)(uid)
            if not own:
                del self._own[claim.peer_of]


def _claim(body: Mapping[str, Any]) -> Claim | None:
    node = body["spec"].get("nodeName")
    if node is None or body.get("status", {}).get("phase") in FINISHED:
        return None
    meta = body["metadata"]
    labels = meta.get("labels", {})
    job = labels.get(names.LABEL_JOB) if labels.get(names.LABEL_ROLE) == Role.PEER else None
    return Claim(node, requests_of(body), Key(meta["namespace"], job) if job else None)
