"""Differential privacy of what a peer publishes: bounded slopes and noise.

Protected is one record of a peer's own training data against everybody who reads the log: exchanging the record
for another changes what is published by little (zero-order DP-SGD as in Tang et al., arXiv 2401.04343). Each
sample's slope is cut to [-clip, clip]; of n samples' mean one record moves at most 2·clip/n, its sensitivity;
the noise is normal with ``noiseMultiplier`` times that. Its generator is the operating system's: the run's seed is
known to all. What follows (the byte, the step, the adapter) spends nothing more.
"""

from __future__ import annotations

import random

from torch import Tensor

from .settings import SlopePrivacy


def protected(slopes: Tensor, privacy: SlopePrivacy, noise: random.Random) -> list[float]:
    """Scalars that may be published, of ``slopes [directions, samples]``.

    What is not finite counts as 0: that a record makes a loss overflow is a word about it, too.
    """
    clip, num_samples = float(privacy.clip), slopes.shape[1]
    bounded = slopes.nan_to_num(0.0, 0.0, 0.0).clamp(-clip, clip).mean(1)
    deviation = float(privacy.noise_multiplier) * 2 * clip / num_samples
    return [scalar + noise.gauss(0.0, deviation) for scalar in bounded.tolist()]
