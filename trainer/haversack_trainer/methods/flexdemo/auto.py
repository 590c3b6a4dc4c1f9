"""``scheme: Auto``: the richest exchange that hides behind compute on the lines that there are.

Peers time a few rounds with and without bulk and say in the log what they saw, so all of them choose the same. A node
sends P bytes a round and takes in those of the others, which is linear in P (FlexDeMo, arXiv 2502.06728, on replication):

    exchange(P) = small + (bulk - small)·P / bulk_bytes

Candidates are tried from the richest to the poorest: everything each step, where the update keeps moments of its own (the sign of
a mean gradient alone, without any momentum, learns worse than DeMo); then, at smaller and smaller rates, DeMo, and Random, which saves the indices; then DiLoCo, which is silent for H steps. (Every node gathers what the others publish, by hub and
by group alike, so no scheme's bytes stay constant as nodes are added; the paper's ring for Random would.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from .settings import Scheme

NEGLIGIBLE: Final = 0.05
"""An exchange of this share of a step is not worth a gradient that is one step late."""
ROOM: Final = 0.9
"""An exchange that takes no more than this share of a step counts as hidden: lines and steps vary."""
CHUNK: Final = 64
DEMO_TOP_K: Final = (16, 8, 4, 2)
"""Of ``CHUNK``: rates 1/4 to 1/32."""
MOST_SILENT_STEPS: Final = 500
LEAST_SILENT_STEPS: Final = 10
_LEAST_SECONDS: Final = 1e-6

PayloadBytes = Callable[[Mapping[str, Any]], int]
"""Bytes that a node publishes a round with these fields of ``Options``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one peer saw, or what a group can count on."""

    step_seconds: float
    """Compute of one optimizer step."""
    small_seconds: float
    """An exchange without bulk: the round trips."""
    bulk_seconds: float
    """An exchange of ``bulk_bytes`` from each peer."""
    bulk_bytes: int

    def exchange_seconds(self, payload_bytes: int) -> float:
        """Of a round in which each peer publishes so much."""
        slope = max(self.bulk_seconds - self.small_seconds, 0.0) / self.bulk_bytes
        return self.small_seconds + slope * payload_bytes


@dataclass(frozen=True, slots=True)
class Choice:
    """How to go on, and why."""

    changes: Mapping[str, Any]
    """Fields of ``Options`` to change."""
    delay: int
    exchange_seconds: float
    reason: str
    """One sentence for report and status."""


def together(measured: Sequence[Measured]) -> Measured:
    """What all of a group can count on.

    Whoever computes fast waits for the others, which is no property of the lines; the slowest peer waits for
    nobody, so the shortest exchange that anybody saw is the one that its bytes took. Raises ``ValueError`` if
    nobody measured anything.
    """
    if not measured:
        raise ValueError("no peer has measured its line")
    return Measured(
        step_seconds=max(median(one.step_seconds for one in measured), _LEAST_SECONDS),
        small_seconds=min(one.small_seconds for one in measured),
        bulk_seconds=min(one.bulk_seconds for one in measured),
        bulk_bytes=measured[0].bulk_bytes,
    )


def choose(measured: Measured, payload_bytes: PayloadBytes, *, with_full: bool) -> Choice:
    """The richest candidate that is negligible or hidden behind the next step's compute; else DiLoCo.

    ``with_full``: sending everything is one of them."""
    for changes in _candidates(with_full=with_full):
        seconds = measured.exchange_seconds(payload_bytes(changes))
        if seconds <= NEGLIGIBLE * measured.step_seconds:
            return _choice(changes, 0, seconds, measured, "is hardly felt")
        if seconds <= ROOM * measured.step_seconds:
            return _choice(changes, 1, seconds, measured, "hides behind the next step")
    return _silent(measured, payload_bytes)


def _candidates(*, with_full: bool) -> Iterator[dict[str, Any]]:
    if with_full:
        yield {"scheme": Scheme.FULL}
    for top_k in DEMO_TOP_K:
        yield {"scheme": Scheme.DEMO, "chunk": CHUNK, "top_k": top_k}
        yield {"scheme": Scheme.RANDOM, "rate": top_k / CHUNK}


def _silent(measured: Measured, payload_bytes: PayloadBytes) -> Choice:
    changes: dict[str, Any] = {"scheme": Scheme.DILOCO}
    seconds = measured.exchange_seconds(payload_bytes(changes))
    wanted = math.ceil(seconds / (NEGLIGIBLE * measured.step_seconds))
    steps = min(max(wanted, LEAST_SILENT_STEPS), MOST_SILENT_STEPS)
    why = f"is too long for every step, so it comes once in {steps} steps"
    return _choice({**changes, "sync_every": steps}, 0, seconds, measured, why)


def _choice(
    changes: Mapping[str, Any], delay: int, seconds: float, measured: Measured, why: str
) -> Choice:
    detail = {
        Scheme.DEMO: f" {changes.get('top_k')}/{CHUNK}",
        Scheme.RANDOM: f" {changes.get('rate')}",
    }
    name = (
        f"{changes['scheme']}{detail.get(changes['scheme'], '')}{' with delay 1' if delay else ''}"
    )
    reason = f"scheme Auto chose {name}: its exchange takes {seconds:.2g} s, a step {measured.step_seconds:.2g} s; it {why}"
    return Choice(changes, delay, seconds, reason)
