"""Paired bootstrap (Efron and Tibshirani 1993, chapter 13: the percentile interval)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES: Final = 2000
COVERAGE: Final = 0.95
_CHUNK: Final = 2**22
"""Draws in memory at once (32 MiB)."""


def bootstrap_interval(differences: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of paired differences; NaN where one of them is not finite."""
    if not np.isfinite(differences).all():
        return float("nan"), float("nan")
    rng, count = np.random.default_rng(seed), len(differences)
    rows = max(1, _CHUNK // count)
    means = np.concatenate(
        [
            differences[rng.integers(count, size=(min(rows, NUM_RESAMPLES - done), count))].mean(1)
            for done in range(0, NUM_RESAMPLES, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
