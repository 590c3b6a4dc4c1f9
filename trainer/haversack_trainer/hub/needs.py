"""Which blobs the log still refers to, and which it did once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from haversack_trainer.exchange.log import RunState
from haversack_trainer.exchange.payload import DIGEST_BYTES

RECENT_ROUNDS: Final = 3
"""Closed rounds whose blobs are kept, and what those build on."""
_MOST_AUX: Final = 127
KEPT_ROUNDS: Final = RECENT_ROUNDS + _MOST_AUX
"""Closed rounds that have to be known for that."""


def needed_blobs(state: RunState) -> set[str]:
    """Digests that the open round and the newest closed ones refer to, and what those blobs build on: as many
    of their peer's earlier ones as their ``aux`` says."""
    closed = state.closed[-KEPT_ROUNDS:]
    rounds = [*(round_.all_payloads for round_ in closed), state.open_payloads]
    first: dict[int, int] = {}
    """By peer, where in ``rounds`` the oldest needed blob is."""
    for at in range(max(0, len(closed) - RECENT_ROUNDS), len(rounds)):
        for payload in rounds[at]:
            oldest = at - max(payload.aux, 0)
            first[payload.peer] = min(first.get(payload.peer, oldest), oldest)
    return {
        payload.body[-DIGEST_BYTES:].hex()
        for at, payloads in enumerate(rounds)
        for payload in payloads
        if at >= first.get(payload.peer, len(rounds))
    }


def blobs_between(state: RunState, first: int, end: int) -> Iterator[str]:
    """Digests that the closed rounds from ``first`` to ``end`` referred to, as far as the state still has them."""
    for round_ in state.closed:
        if first <= round_.round < end:
            for payload in round_.all_payloads:
                yield payload.body[-DIGEST_BYTES:].hex()
