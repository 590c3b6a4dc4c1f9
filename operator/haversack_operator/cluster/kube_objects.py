"""API objects as JSON, read into the snapshot's values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.api.quantity import to_bytes, to_count, to_millis
from haversack_operator.snapshot import Amounts, Node, Pod, Role, Taint

LIFE_CYCLE_TAINTS: Final = frozenset(
    {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/unschedulable",
    }
)
"""They repeat what ``ready`` and ``unschedulable`` say."""
LOG_PREFIX: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
"""As Python's logging writes it."""
PLAIN: Final = frozenset({"cpu", "memory", "pods", "ephemeral-storage"})


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339, as the API server writes it."""
    return None if text is None else datetime.fromisoformat(text)


def amounts_from(resources: Mapping[str, str]) -> Amounts:
    """A resource list (requests, allocatable)."""
    devices = {name: to_count(str(value)) for name, value in resources.items() if _is_device(name)}
    return Amounts(
        to_millis(str(resources.get("cpu", "0"))),
        to_bytes(str(resources.get("memory", "0"))),
        devices,
    )


def node_from(body: Mapping[str, Any]) -> Node:
    """A node, with nobody on it yet."""
    meta, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", ())}
    told = conditions.get("Ready", {})
    ready = told.get("status") == "True"
    return Node(
        name=meta["name"],
        labels=meta.get("labels", {}),
        allocatable=amounts_from(status.get("allocatable", {})),
        taints=tuple(
            Taint(taint["key"], taint["effect"], taint.get("value", ""))
            for taint in spec.get("taints", ())
            if taint["key"] not in LIFE_CYCLE_TAINTS
        ),
        ready=ready,
        down_since=None if ready else parse_time(told.get("lastTransitionTime")),
        unschedulable=spec.get("unschedulable", False),
    )


def plus(left: Amounts, right: Amounts, sign: int = 1) -> Amounts:
    """``left + sign * right``, device by device."""
    kinds = {**left.devices, **right.devices}
    devices = {
        name: left.devices.get(name, 0) + sign * right.devices.get(name, 0) for name in kinds
    }
    return Amounts(
        left.cpu_millis + sign * right.cpu_millis,
        left.memory_bytes + sign * right.memory_bytes,
        {name: count for name, count in devices.items() if count},
    )


def within(amounts: Amounts, limit: Amounts) -> bool:
    """Whether no resource is over its limit."""
    return (
        amounts.cpu_millis <= limit.cpu_millis
        and amounts.memory_bytes <= limit.memory_bytes
        and all(count <= limit.devices.get(name, 0) for name, count in amounts.devices.items())
    )


def requests_of(pod: Mapping[str, Any]) -> Amounts:
    """What the scheduler reserves for a pod: all its containers and sidecars, or an init container
    and the sidecars that were started before it, whichever is more; or what the pod asks as a
    whole; and its overhead."""
    spec = pod["spec"]
    sidecars, most = Amounts(), Amounts()
    for container in spec.get("initContainers", ()):
        asked = plus(sidecars, _requests(container))
        most = _larger(most, asked)
        if container.get("restartPolicy") == "Always":
            sidecars = asked
    steady = sidecars
    for container in spec["containers"]:
        steady = plus(steady, _requests(container))
    whole = _over(_larger(steady, most), spec.get("resources", {}).get("requests", {}))
    return plus(whole, amounts_from(spec.get("overhead", {})))


def pod_from(body: Mapping[str, Any]) -> Pod:
    """One of our pods."""
    meta, spec, status = body["metadata"], body["spec"], body.get("status", {})
    labels = meta.get("labels", {})
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses", ())), {})
    ended = _ended(container)
    conditions = {entry["type"]: entry for entry in status.get("conditions", ())}
    return Pod(
        name=meta["name"],
        role=Role(labels[names.LABEL_ROLE]),
        phase=status.get("phase", "Pending"),
        node=spec.get("nodeName") or planned_node(spec),
        peer=int(labels[names.LABEL_PEER]) if names.LABEL_PEER in labels else None,
        pool=labels.get(names.LABEL_POOL),
        attempt=int(labels.get(names.LABEL_ATTEMPT, 0)),
        ready=conditions.get("Ready", {}).get("status") == "True",
        restarts=container.get("restartCount", 0),
        exit_code=ended.get("exitCode"),
        waiting_reason=_waiting(container, conditions),
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        deleting="deletionTimestamp" in meta,
        ip=status.get("podIP") or None,
        requests=requests_of(body),
        created=parse_time(meta.get("creationTimestamp")),
        micro_batch_size=int(meta.get("annotations", {}).get(names.ANNOTATION_MICRO_BATCH, 1)),
        message=_last_line(ended.get("message", "")),
    )


def planned_node(spec: Mapping[str, Any]) -> str | None:
    """The node that the pod's required affinity names."""
    required = _node_affinity(spec).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    return _named(required.get("nodeSelectorTerms", ()))


def preferred_node(spec: Mapping[str, Any]) -> str | None:
    """The node that the pod's preferred affinity names."""
    preferred = _node_affinity(spec).get("preferredDuringSchedulingIgnoredDuringExecution", ())
    return _named(term["preference"] for term in preferred)


def _node_affinity(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = spec.get("affinity", {}).get("nodeAffinity", {})
    return found


def _named(terms: Iterable[Mapping[str, Any]]) -> str | None:
    for term in terms:
        for field in term.get("matchFields", ()):
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return None


def _is_device(name: str) -> bool:
    return name not in PLAIN and not name.startswith(("hugepages-", "attachable-volumes-"))


def _requests(container: Mapping[str, Any]) -> Amounts:
    return amounts_from(container.get("resources", {}).get("requests", {}))


def _over(amounts: Amounts, pod_level: Mapping[str, str]) -> Amounts:
    """A pod may ask for CPUs and memory as a whole; then what its containers ask is a part of that."""
    asked = amounts_from(pod_level)
    return Amounts(
        asked.cpu_millis if "cpu" in pod_level else amounts.cpu_millis,
        asked.memory_bytes if "memory" in pod_level else amounts.memory_bytes,
        amounts.devices,
    )


def _larger(left: Amounts, right: Amounts) -> Amounts:
    kinds = {**left.devices, **right.devices}
    return Amounts(
        max(left.cpu_millis, right.cpu_millis),
        max(left.memory_bytes, right.memory_bytes),
        {name: max(left.devices.get(name, 0), right.devices.get(name, 0)) for name in kinds},
    )


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """The newest end of the container's process, restarted since or not."""
    for state in ("state", "lastState"):
        ended: Mapping[str, Any] | None = container.get(state, {}).get("terminated")
        if ended is not None:
            return ended
    return {}


def _waiting(container: Mapping[str, Any], conditions: Mapping[str, Any]) -> str | None:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", "Unschedulable"))
    waiting: str | None = container.get("state", {}).get("waiting", {}).get("reason")
    return waiting


def _last_line(message: str) -> str:
    """The process's last words: the trainer ends with one sentence that says what to change."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return LOG_PREFIX.sub("", lines[-1])[:1000] if lines else ""
