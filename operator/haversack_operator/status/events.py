"""Events: one for each transition that a person may want to know of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from haversack_operator.api.names import Condition
from haversack_operator.api.status import ConditionEntry, ConditionStatus, JobStatus
from haversack_operator.cluster.base import Event

from .conditions import find

NORMAL: Final = "Normal"
WARNING: Final = "Warning"

_GOOD: Final = frozenset(
    {
        Condition.PLACED,
        Condition.PEERS_READY,
        Condition.GATE_PASSED,
        Condition.SUSPENDED,
        Condition.COMPLETE,
    }
)
"""Told of when they become true."""
_BAD: Final = frozenset({Condition.FAILED, Condition.STALLED})
"""Told of, as a warning, when they become true."""
_LOST: Final = frozenset(
    {Condition.ACCEPTED, Condition.PLACED, Condition.HUB_READY, Condition.PEERS_READY}
)
"""Told of when they turn false, or are false from the start for a reason that is not waiting."""
_WAITING: Final = frozenset({"Starting", "Suspended", "Pending"})


def transitions(old: JobStatus, new: JobStatus) -> Iterator[Event]:
    """Events of the step from ``old`` to ``new``."""
    for entry in new.conditions:
        before = find(old, entry.type)
        if before is None or (before.status, before.reason) != (entry.status, entry.reason):
            turned = before is None or before.status is not entry.status
            severity = _severity(entry, turned=turned)
            if severity is not None:
                message = f"{entry.type}: {entry.message}" if entry.message else entry.type
                yield Event(severity, entry.reason, message)


def _severity(entry: ConditionEntry, *, turned: bool) -> str | None:
    """None for a change that nobody needs to be told of."""
    if entry.status is ConditionStatus.TRUE:
        if entry.type in _BAD:
            return WARNING
        return NORMAL if turned and entry.type in _GOOD else None
    if entry.reason == "AwaitingApproval" and entry.type == Condition.GATE_PASSED:
        return NORMAL
    return WARNING if entry.type in _LOST and entry.reason not in _WAITING else None
