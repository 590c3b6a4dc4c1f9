"""States that one end of an edge alone could not read: both learn of it in the log and go by it alike. Pure.

The mean stays because both ends of an edge do the same. Who lacks a neighbour's state does nothing along their edge,
while that neighbour may have gone its half of the way. So a peer names in its next word whose states it lacked. Once
that round closes, the other end goes back by what it went, and both begin the edge anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from haversack_trainer.exchange.codec import State

from .mixers.base import Mixed
from .word import Word

MAX_ROUNDS: Final = 8
"""So long a peer that has not been heard of may still say that it lacked something."""
MAX_KEPT_BYTES: Final = 2**26
"""Of a round's neighbours' states, kept until these are heard of again: little beside a process. Larger ones are not, and the mean
then stays moved."""


@dataclass(frozen=True, slots=True)
class Half:
    """How far a peer has gone towards a neighbour in a round: ``share·(theirs - own)``, by what both had sent."""

    round: int
    share: float
    own: State
    theirs: State


def named(said: Mapping[int, Word], me: int) -> frozenset[int]:
    """Those one of whose ends, of an edge with ``me``, says that it lacked the other's state."""
    mine = said[me].lost if me in said else ()
    theirs = (peer for peer, word in said.items() if any(lacked == me for _, lacked in word.lost))
    return frozenset(peer for _, peer in mine).union(theirs)


def halves(
    round: int, shares: Mapping[int, float], states: Mapping[int, State], me: int, gain: float
) -> dict[int, Half]:
    """What ``me`` goes in a round, by neighbour; nothing where that is too much to keep."""
    near = [peer for peer in shares if peer != me]
    num_bytes = sum(values.nbytes for peer in near for values in states[peer].values())
    if num_bytes > MAX_KEPT_BYTES:
        return {}
    return {peer: Half(round, gain * shares[peer], states[me], states[peer]) for peer in near}


def heard(
    gone: Mapping[int, Half], said: Mapping[int, Word], me: int, round: int
) -> tuple[list[Half], dict[int, Half]]:
    """Of the halves that ``me`` has gone: those that the other end has not, and those of which it has not spoken yet."""
    back = [
        half
        for peer, half in sorted(gone.items())
        if peer in said and (half.round, me) in said[peer].lost
    ]
    unheard = {
        peer: half
        for peer, half in gone.items()
        if peer not in said and round - half.round < MAX_ROUNDS
    }
    return back, unheard


def without(mixed: Mixed, back: Iterable[Half]) -> Mixed:
    """As if they had not been gone."""
    for half in back:
        mixed = {
            name: (values - half.share * _way(half, name)).astype(np.float32)
            for name, values in mixed.items()
        }
    return mixed


def _way(half: Half, name: str) -> np.ndarray:
    return half.theirs[name].astype(np.float64) - half.own[name]
