"""What one pass decides, in the words of its tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from operator_builders import SETTINGS

from haversack_operator.cluster.base import Actions
from haversack_operator.reconcile import decide
from haversack_operator.snapshot import Job, Snapshot

EMPTY: dict[str, Any] = {
    "pods": (),
    "plan": None,
    "key_pairs": frozenset(),
    "existing": frozenset(),
}


def act(snapshot: Snapshot) -> Actions:
    return decide(snapshot, SETTINGS).actions


def applied(actions: Actions, kind: str = "Pod") -> list[str]:
    return [body["metadata"]["name"] for body in actions.apply if body["kind"] == kind]


def deleted(actions: Actions) -> list[str]:
    return [ref.name for ref in actions.delete]


def condition(actions: Actions, type: str) -> tuple[str, str]:
    assert actions.status is not None
    entry = next(one for one in actions.status["conditions"] if one["type"] == type)
    return entry["status"], entry["reason"]


def told(snapshot: Snapshot) -> Snapshot:
    """The same look a moment later, with the status of the first pass in place."""
    actions = act(snapshot)
    assert isinstance(snapshot.job, Job)
    assert actions.status is not None
    return replace(snapshot, job=replace(snapshot.job, status=actions.status))
