"""Time as the API writes it, and the clocks that a status keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from haversack_operator.api.names import Condition
from haversack_operator.api.status import JobStatus

from .conditions import find

NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""No year has five digits in RFC 3339."""


def stamp(time: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_of(seconds: float) -> str | None:
    """Unix time as the API writes it; nothing for what is no time."""
    known = 0 < seconds < NEVER
    return stamp(datetime.fromtimestamp(seconds, UTC)) if known else None


def parse(text: str) -> datetime:
    """Inverse of ``stamp``."""
    return datetime.fromisoformat(text)


def seconds_since(status: JobStatus, condition: str, wanted: str, now: datetime) -> float:
    """How long the condition has had this status; 0 if it has not."""
    entry = find(status, condition)
    if entry is None or entry.status != wanted:
        return 0.0
    return max(0.0, (now - parse(entry.last_transition_time)).total_seconds())


def active_seconds(status: JobStatus, now: datetime) -> float:
    """How long the job has run. Waiting for the first placement and suspension do not count."""
    if status.start_time is None or status.completion_time is not None:
        return status.active_seconds
    suspended = find(status, Condition.SUSPENDED)
    if suspended is not None and suspended.status == "True":
        return status.active_seconds
    since = parse(status.start_time)
    if suspended is not None:
        since = max(since, parse(suspended.last_transition_time))
    return status.active_seconds + max(0.0, (now - since).total_seconds())
