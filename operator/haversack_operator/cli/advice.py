"""``haversack plan --advise`` as text and as data."""

from __future__ import annotations

from typing import Any, Final

from haversack_operator.api.estimate import MEGA
from haversack_operator.api.quantity import format_bytes, format_seconds

from .costs import Advice, Cost, Verdict
from .words import columns

HEADER: Final = (
    "METHOD",
    "POOL",
    "MEMORY",
    "AVAILABLE",
    "MICRO-BATCH",
    "STEPS",
    "SENT",
    "FETCHED",
    "EXCHANGE",
    "COMPUTE",
    "VERDICT",
)
"""Steps, bytes and seconds of a round."""
UNKNOWN: Final = "-"
_MILLI: Final = 1000


def text(advice: Advice) -> str:
    """A table, the advice, and why what cannot be had cannot."""
    wrong = {
        f"{cost.method}: {cost.reason}": None
        for cost in advice.costs
        if cost.verdict in {Verdict.NO_ROOM, Verdict.REFUSED}
    }
    said = advice.choice.reason if advice.choice else advice.why_none
    table = columns([HEADER, *map(_cells, advice.costs)])
    return "\n".join((*table, "", said, *advice.tuning, *wrong))


def values(advice: Advice) -> dict[str, Any]:
    """The same as plain values, in the manner of the API."""
    line, choice = advice.figures.line, advice.choice
    return {
        "figures": {
            "bandwidthMbps": line.bits_per_second / MEGA if line else None,
            "latencyMilliseconds": line.latency_seconds * _MILLI if line else None,
            "stepSeconds": advice.figures.slowest_step(advice.spec),
            "words": advice.figures.words(advice.spec),
        },
        "advice": {
            "method": choice.spec.method,
            "row": choice.row.name,
            "reason": choice.reason,
            "tuning": list(advice.tuning),
        }
        if choice
        else None,
        "why": advice.why_none or None,
        "methods": [_row(cost) for cost in advice.costs],
    }


def _row(cost: Cost) -> dict[str, Any]:
    one = cost.round
    return {
        "method": cost.method,
        "pool": cost.pool,
        "memoryBytes": cost.memory_bytes,
        "availableBytes": cost.available_bytes,
        "microBatchSize": cost.micro_batch_size,
        "steps": one.steps if one else None,
        "sentBytes": round(one.sent_bytes) if one else None,
        "fetchedBytes": round(one.fetched_bytes) if one else None,
        "exchangeSeconds": cost.exchange_seconds,
        "computeSeconds": cost.compute_seconds,
        "verdict": cost.verdict.value,
        "reason": cost.reason,
    }


def _cells(cost: Cost) -> tuple[str, ...]:
    row = _row(cost)
    return (
        cost.method,
        cost.pool,
        _bytes(row["memoryBytes"]),
        _bytes(row["availableBytes"]),
        str(cost.micro_batch_size),
        UNKNOWN if row["steps"] is None else f"{row['steps']:g}",
        _bytes(row["sentBytes"]),
        _bytes(row["fetchedBytes"]),
        _seconds(cost.exchange_seconds),
        _seconds(cost.compute_seconds),
        cost.verdict,
    )


def _bytes(size: int | None) -> str:
    return UNKNOWN if size is None else format_bytes(size)


def _seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else format_seconds(seconds)
