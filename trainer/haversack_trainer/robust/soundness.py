"""Which states count at all. Pure: whoever has the same bytes judges alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median_low
from typing import Final

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.contract.report import REFUSED

State = Mapping[str, NDArray[np.float32]]
MAX_GROWTH: Final = 10.0
"""Far more than training does to a state in a round, far less than what overflows."""


def is_sound(state: State, like: State, spread: float = 1.0) -> bool:
    """Whether all numbers are finite and the norm is no more than ten times that of ``like`` and of a state whose
    numbers are all as large as ``spread``. Shapes have been looked at when the bytes were read."""
    norm, own = _norm(state), _norm({name: like[name] for name in state})
    count = sum(values.size for values in state.values())
    return math.isfinite(norm) and norm <= MAX_GROWTH * (own + max(spread, 1.0) * math.sqrt(count))


def sound_among(states: Mapping[int, State], spread: float = 1.0) -> set[int]:
    """Whose of one round's states count: their numbers are finite, and their root mean square is no more than ten times
    the median of all and ``spread`` together. It hangs on the round alone, so that all who read it agree."""
    sizes = {peer: _root_mean_square(state) for peer, state in states.items()}
    known = [size for size in sizes.values() if math.isfinite(size)]
    if not known:
        return set()
    most = MAX_GROWTH * (median_low(known) + max(spread, 1.0))
    return {peer for peer, size in sizes.items() if size <= most}


def tally(refused: Iterable[int]) -> dict[str, float]:
    """For the report: how many peers' states did not count in a round, and whose."""
    whose = sorted(refused)
    return {"refused": float(len(whose)), **{f"{REFUSED}{peer}": 1.0 for peer in whose}}


def _root_mean_square(state: State) -> float:
    count = sum(values.size for values in state.values())
    return _norm(state) / math.sqrt(max(count, 1))


def _norm(state: State) -> float:
    """In fp64: the square of a large number in fp32 is infinite."""
    return math.sqrt(
        sum(float(np.square(values.astype(np.float64)).sum()) for values in state.values())
    )
