"""Nodes and what pods ask of them, kept up to date by watch events and by our own claims.

Only placement reads this. A job's own objects are always read live: see
``docs/decisions/0006-own-objects-are-read-live.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from haversack_operator.api import names
from haversack_operator.snapshot import Amounts, Node, Role

from .api import Api
from .base import Key, Manifest
from .kube_objects import node_from, planned_node, plus, preferred_node, requests_of, within

FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pod holds of its node, or will hold once it is bound where it was told to go."""

    node: str
    amounts: Amounts
    peer_of: Key | None
    unseen_of: Key | None = None
    """The job whose pass is about to create the pod; None once the pod is there."""


@dataclass
class ClusterView:
    """Everything that placement needs of the cluster beyond the job itself."""

    _nodes: dict[str, Node] = field(default_factory=dict)
    _claims: dict[Key, Claim] = field(default_factory=dict)
    """By the pod's namespace and name: a claim is older than its pod's uid."""
    _used: dict[str, Amounts] = field(default_factory=dict)
    _own: dict[Key, set[Key]] = field(default_factory=dict)
    _heard_nodes: dict[str, Node | None] = field(default_factory=dict)
    """What was told since the newest listing began, None for what is gone."""
    _heard_claims: dict[Key, Claim | None] = field(default_factory=dict)

    def see_node(self, body: Mapping[str, Any], *, gone: bool = False) -> bool:
        """Take in a node; True if it changed in a way that placement cares for."""
        return self._put_node(body["metadata"]["name"], None if gone else node_from(body))

    def see_pod(self, body: Mapping[str, Any], *, gone: bool = False) -> bool:
        """Take in any pod of the cluster; True if a node got room."""
        claim = None if gone else _claim(body)
        return self._put(_id(body), claim) is not None and claim is None

    def nodes(self, key: Key) -> tuple[Node, ...]:
        """All nodes, by name, with what everybody but this job's peers uses."""
        own: dict[str, Amounts] = {}
        for pod in self._own.get(key, ()):
            claim = self._claims[pod]
            own[claim.node] = plus(own.get(claim.node, Amounts()), claim.amounts)
        return tuple(
            replace(node, used=plus(self._used.get(name, Amounts()), own.get(name, Amounts()), -1))
            for name, node in sorted(self._nodes.items())
        )

    def claim(self, key: Key, seen: Iterable[Node], pods: Iterable[Manifest]) -> bool:
        """Hold room for pods that are about to be created, for all of them or none. False if
        others took it since the nodes were ``seen``: what is decided on them is void."""
        new = {_id(pod): claim for pod in pods if (claim := _claim(pod))}
        new = {pod: claim for pod, claim in new.items() if pod not in self._claims}
        before = {node.name: node for node in seen}
        now = {node.name: node for node in self.nodes(key)} if new else {}
        for name in {claim.node for claim in new.values()}:
            asked = [claim.amounts for claim in new.values() if claim.node == name]
            if name not in now or (
                not within(now[name].used, before[name].used)
                and not within(self._with(name, asked), now[name].allocatable)
            ):
                return False
        for pod, claim in new.items():
            self._put(pod, replace(claim, unseen_of=key))
        return True

    def settle(self, key: Key, *, created: bool) -> None:
        """The pods were created and their claims stand; or they were not, and those that no event
        has told of are void."""
        for pod, claim in tuple(self._claims.items()):
            if claim.unseen_of == key:
                self._put(pod, replace(claim, unseen_of=None) if created else None)

    async def refresh(self, api: Api, namespaces: tuple[str | None, ...]) -> None:
        """Start over from live lists: a watch that was cut never tells what vanished meanwhile.
        What is told while the lists are read is newer than they are."""
        self._heard_nodes, self._heard_claims = {}, {}
        nodes = await api.list("Node", None)
        pods = [body for namespace in namespaces for body in await api.list("Pod", namespace)]
        fresh = ClusterView()
        for body in nodes:
            fresh.see_node(body)
        for body in pods:
            fresh.see_pod(body)
        for name, heard in self._heard_nodes.items():
            fresh._put_node(name, heard)
        unseen = {pod: claim for pod, claim in self._claims.items() if claim.unseen_of}
        for pod, claim in (unseen | self._heard_claims).items():
            fresh._put(pod, claim)
        self._nodes, self._claims = fresh._nodes, fresh._claims
        self._used, self._own = fresh._used, fresh._own

    def _put_node(self, name: str, node: Node | None) -> bool:
        self._heard_nodes[name] = node
        before = self._nodes.pop(name, None)
        if node is not None:
            self._nodes[name] = node
        return node != before

    def _put(self, pod: Key, claim: Claim | None) -> Claim | None:
        """The pod's claim is this now; returns what it was."""
        self._heard_claims[pod] = claim
        before = self._claims.get(pod)
        if claim != before:
            if before is not None:
                self._count(pod, before, -1)
            if claim is not None:
                self._count(pod, claim, 1)
        return before

    def _with(self, node: str, asked: Iterable[Amounts]) -> Amounts:
        """What is used of a node by everybody, with ``asked`` on top."""
        total = self._used.get(node, Amounts())
        for amounts in asked:
            total = plus(total, amounts)
        return total

    def _count(self, pod: Key, claim: Claim, sign: int) -> None:
        used = self._used.get(claim.node, Amounts())
        self._used[claim.node] = plus(used, claim.amounts, sign)
        if sign > 0:
            self._claims[pod] = claim
        else:
            del self._claims[pod]
        if claim.peer_of is not None:
            own = self._own.setdefault(claim.peer_of, set())
            (own.add if sign > 0 else own.discard)(pod)
            if not own:
                del self._own[claim.peer_of]


def _id(body: Mapping[str, Any]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def _claim(body: Mapping[str, Any]) -> Claim | None:
    """A pod that is not bound yet counts where it was told to go, or best goes."""
    spec = body["spec"]
    node = spec.get("nodeName") or planned_node(spec) or preferred_node(spec)
    if node is None or body.get("status", {}).get("phase") in FINISHED:
        return None
    meta = body["metadata"]
    labels = meta.get("labels", {})
    job = labels.get(names.LABEL_JOB) if labels.get(names.LABEL_ROLE) == Role.PEER else None
    return Claim(node, requests_of(body), Key(meta["namespace"], job) if job else None)
