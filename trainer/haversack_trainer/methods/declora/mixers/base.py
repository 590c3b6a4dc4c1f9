"""What a mixer is, and what all of them need. Pure NumPy.

LoRA's update is B·A, A ``[r, d_in]`` and B ``[d_out, r]``. Averaging the factors apart is not averaging the
updates: the difference is the covariance of the peers' disagreements in A and B.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.exchange.codec import State

Array = NDArray[np.float32]
Mixed = dict[str, Array]
A: Final = "lora_A"
B: Final = "lora_B"


class Mixer(Protocol):
    """A rule of mixing."""

    is_linear: bool
    """True if each tensor is mixed by itself, as a weighted sum: what mean preservation and mixing by
    differences rest on."""
    keeps_coordinates: bool
    """False if factors come back in other coordinates, in which an optimizer's moments mean nothing."""

    def sends(self, name: str) -> bool:
        """Whether the tensor goes over the wire."""

    def trains(self, name: str, phase: int) -> bool:
        """Whether the tensor is trained in a phase, counted from 0."""

    def combine(self, shares: Mapping[int, float], states: Mapping[int, State], me: int) -> Mixed:
        """The state of ``me`` after taking in those of ``shares``, which sum to 1; of what is sent."""


class Pair(NamedTuple):
    """Names of the two factors of one update."""

    a: str
    b: str


def pairs(state: State) -> list[Pair]:
    """The updates that have both factors as matrices, by name."""
    found = [Pair(name, name.replace(A, B)) for name in sorted(state) if A in name]
    return [pair for pair in found if pair.b in state and all(state[n].ndim == 2 for n in pair)]  # noqa: PLR2004  # matrices


def weighted(
    shares: Mapping[int, float], states: Mapping[int, State], name: str
) -> NDArray[np.float64]:
    """``sum of share · tensor`` in fp64 and in ascending order of peer: the same bits everywhere."""
    total = np.zeros(next(iter(states.values()))[name].shape)
    for peer in sorted(shares):
        total += shares[peer] * states[peer][name].astype(np.float64)
    return total


def averaged(shares: Mapping[int, float], states: Mapping[int, State]) -> Mixed:
    """``weighted`` of every tensor, rounded to fp32 once."""
    names = states[min(states)]
    return {name: weighted(shares, states, name).astype(np.float32) for name in names}
