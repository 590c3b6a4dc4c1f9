"""Differential privacy of what a peer publishes: bounded slopes, noise, and what they spend.

Protected is one record of a peer's own training data against everybody who reads the log: exchanging the record
for another changes what is published by little (zero-order DP-SGD as in Tang et al., arXiv 2401.04343). Each
sample's slope is cut to [-clip, clip]; of n samples' mean one record moves at most 2·clip/n, its sensitivity;
the noise is normal with ``noiseMultiplier`` times that. Its generator is the operating system's: the run's seed is
known to all. What follows (the byte, the step, the adapter) spends nothing more.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from .settings import Privacy

_ORDERS_TO_A_FACTOR: Final = 16
_FACTORS: Final = 8
"""Orders of Rényi's divergence that are tried: around the best one, to this many factors of two."""


@dataclass(frozen=True, slots=True)
class Use:
    """How often a peer's records go into what is published."""

    num_records: int
    batch_size: int
    scalars_per_batch: int

    def after(self, num_batches: int) -> int:
        """Scalars that the most-used record was in, squared multiplicities added up: a bound.

        Batches follow a new order in each pass, so a record is once in each pass over the data. Where a batch
        reaches into the next pass, a record may be in it more than once, and its sensitivity is as many fold.
        """
        passes = -(-num_batches * self.batch_size // self.num_records)
        most = (self.batch_size - 2) // self.num_records + 2
        if self.num_records % self.batch_size == 0:
            most = 1
        return passes * most * self.scalars_per_batch


def protected(slopes: Tensor, privacy: Privacy, noise: random.Random) -> list[float]:
    """Scalars that may be published, of ``slopes [directions, samples]``.

    What is not finite counts as 0: that a record makes a loss overflow is a word about it, too.
    """
    clip, num_samples = float(privacy.clip), slopes.shape[1]
    bounded = slopes.nan_to_num(0.0, 0.0, 0.0).clamp(-clip, clip).mean(1)
    deviation = float(privacy.noise_multiplier) * 2 * clip / num_samples
    return [scalar + noise.gauss(0.0, deviation) for scalar in bounded.tolist()]


def epsilon(uses: int, noise_multiplier: float, delta: float) -> float:
    """Epsilon of (epsilon, delta)-differential privacy after ``uses`` scalars of one record.

    Gaussian mechanisms compose to a Rényi divergence of order·uses/(2·sigma²) (Mironov, arXiv 1702.07476,
    corollary 3); epsilon from it by Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12.
    """
    if not uses:
        return 0.0
    rate = uses / (2 * noise_multiplier**2)
    best = math.sqrt(-math.log(delta) / rate)
    steps = range(-_FACTORS * _ORDERS_TO_A_FACTOR, _FACTORS * _ORDERS_TO_A_FACTOR + 1)
    orders = (1 + best * 2 ** (step / _ORDERS_TO_A_FACTOR) for step in steps)
    return max(0.0, min(_converted(order, order * rate, delta) for order in orders))


def _converted(order: float, divergence: float, delta: float) -> float:
    loose = (math.log(delta) + math.log(order)) / (order - 1)
    return divergence + math.log1p(-1 / order) - loose
