"""Which layers a micro-batch leaves out. Pure: a function of (seed, peer, round, step, micro-batch)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .kinds import Sampler
from .rates import Rates

QUANTILE: Final = 0.999
"""Of the number of active layers: what memory must be there for."""
_ROUNDING: Final = 1e-9

Mask = NDArray[np.bool_]
"""[layers], True where dropped."""


def draw(rates: Rates, adapted: Collection[int], sampler: Sampler, key: Sequence[int]) -> Mask:
    """Layers that are dropped. At least one of the ``adapted`` layers stays, or nothing would be learned:
    masks without one are drawn again. ``key`` is (seed, peer, round, step, micro-batch)."""
    rng = np.random.default_rng(list(key))
    drop = np.asarray(rates)
    learns = np.isin(np.arange(len(rates)), list(adapted))
    sample = _systematic if sampler is Sampler.SYSTEMATIC else _bernoulli
    while True:
        mask = sample(drop, rng)
        if (learns & ~mask).any():
            return mask


def _bernoulli(drop: NDArray[np.float64], rng: np.random.Generator) -> Mask:
    return rng.random(len(drop)) < drop


def _systematic(drop: NDArray[np.float64], rng: np.random.Generator) -> Mask:
    """Each layer stays with probability exactly 1 - P, and their number is the floor or the ceiling of its
    mean: one regular grid over the layers' probabilities, laid end to end in random order."""
    mask = drop > 0
    order = rng.permutation(np.flatnonzero(mask))
    # Rounded, so that a sum that should be whole is.
    ends = np.round(np.cumsum(1 - drop[order]), 12)
    hits = np.floor(np.concatenate([[0.0], ends]) - rng.random())
    mask[order] = np.diff(hits) < 1
    return mask


def expected_active(rates: Rates) -> float:
    """Mean number of layers that run: L·(1 - p)."""
    return len(rates) - math.fsum(rates)


def most_active(rates: Rates, sampler: Sampler) -> int:
    """Layers whose memory must be there: all that ever run together under systematic sampling; under
    Bernoulli the 99.9 % quantile, for time follows the mean but memory the maximum."""
    if sampler is Sampler.SYSTEMATIC:
        return math.ceil(expected_active(rates) - _ROUNDING)
    chances = np.ones(1)
    for rate in rates:
        chances = np.convolve(chances, [rate, 1 - rate])
    return int(np.searchsorted(np.cumsum(chances), QUANTILE - _ROUNDING))
