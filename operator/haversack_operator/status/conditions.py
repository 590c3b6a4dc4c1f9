"""Conditions: drafts, and how they are laid over the ones that were written before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from haversack_operator.api.names import Condition
from haversack_operator.api.status import ConditionEntry, ConditionStatus, JobStatus

ORDER: Final = (
    Condition.ACCEPTED,
    Condition.PLACED,
    Condition.HUB_READY,
    Condition.PEERS_READY,
    Condition.GATE_PASSED,
    Condition.SUSPENDED,
    Condition.CHECKPOINT_FRESH,
    Condition.READY,
    Condition.COMPLETE,
    Condition.FAILED,
    Condition.RECONCILING,
    Condition.STALLED,
)
ABNORMAL: Final = frozenset({Condition.RECONCILING, Condition.STALLED})
"""Present only while true (kstatus)."""
MAX_MESSAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Draft:
    """A condition without its history."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def true(type: str, reason: str, message: str = "") -> Draft:
    """The condition holds."""
    return Draft(type, ConditionStatus.TRUE, reason, message)


def false(type: str, reason: str, message: str = "") -> Draft:
    """The condition does not hold."""
    return Draft(type, ConditionStatus.FALSE, reason, message)


def unknown(type: str, reason: str, message: str = "") -> Draft:
    """The condition is not asked about now; its clock starts over when it is."""
    return Draft(type, ConditionStatus.UNKNOWN, reason, message)


def find(status: JobStatus, type: str) -> ConditionEntry | None:
    """The condition as written before."""
    return next((entry for entry in status.conditions if entry.type == type), None)


def is_true(status: JobStatus, type: str) -> bool:
    """Whether it was written as true."""
    entry = find(status, type)
    return entry is not None and entry.status is ConditionStatus.TRUE


def is_over(status: JobStatus) -> bool:
    """Complete or failed; both are final."""
    return is_true(status, Condition.COMPLETE) or is_true(status, Condition.FAILED)


def again(status: JobStatus, type: str) -> tuple[Draft, ...]:
    """The condition as written before, if it was."""
    entry = find(status, type)
    if entry is None:
        return ()
    return (Draft(entry.type, entry.status, entry.reason, entry.message),)


def lay_over(
    old: JobStatus, drafts: Iterable[Draft], generation: int, now: str
) -> list[ConditionEntry]:
    """All conditions, in order. One that is not drafted stays as it was, unless it is of those that
    are present only while true; ``lastTransitionTime`` moves only when the status does."""
    entries = {entry.type: entry for entry in old.conditions if entry.type not in ABNORMAL}
    for draft in drafts:
        before = find(old, draft.type)
        moved = before is None or before.status is not draft.status
        entries[draft.type] = ConditionEntry(
            type=draft.type,
            status=draft.status,
            observed_generation=generation,
            last_transition_time=now if before is None or moved else before.last_transition_time,
            reason=draft.reason,
            message=draft.message[:MAX_MESSAGE],
        )
    return [
        entries[each].model_copy(update={"observed_generation": generation})
        for each in ORDER
        if each in entries
    ]
