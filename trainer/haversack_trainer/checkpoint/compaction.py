"""Fewer and bigger segments of an archived log: which of them become one. Pure.

Segments that are full are of tier 0. As soon as ``FAN_IN`` of a tier lie side by side at the log's end they become
one of the next tier. So a byte is written again once a tier, and a log of n segments is kept in about
``FAN_IN * log(n)`` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FAN_IN: Final = 8
MAX_TIER: Final = 2
"""Of about ``FAN_IN ** MAX_TIER`` full ones: 64 MiB, which a peer can hold while it reads, and at most twice that."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a log that is or will be one segment."""

    next: int
    """Position after its last record."""
    size_bytes: int


def merged(spans: Sequence[Span], full_bytes: int) -> tuple[Span, ...]:
    """The same log in fewer spans, if it is time. The last one may still grow and is left alone until it is full."""
    found: list[Span] = []
    for span in spans:
        found.append(span)
        while _are_one(found[-FAN_IN:], full_bytes):
            found[-FAN_IN:] = [Span(found[-1].next, sum(it.size_bytes for it in found[-FAN_IN:]))]
    return tuple(found)


def _are_one(spans: Sequence[Span], full_bytes: int) -> bool:
    """Whether they are as many as become one, and alike."""
    tiers = {_tier(span.size_bytes, full_bytes) for span in spans}
    most_bytes = 2 * full_bytes * FAN_IN**MAX_TIER
    return (
        len(spans) == FAN_IN
        and len(tiers) == 1
        and tiers.isdisjoint({None, MAX_TIER})
        and sum(span.size_bytes for span in spans) <= most_bytes
    )


def _tier(size_bytes: int, full_bytes: int) -> int | None:
    """How often segments were merged to come to this size; None of one that is not full."""
    tiers = [tier for tier in range(MAX_TIER + 1) if size_bytes >= full_bytes * FAN_IN**tier]
    return tiers[-1] if tiers else None
