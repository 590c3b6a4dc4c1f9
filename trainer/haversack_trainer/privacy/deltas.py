"""Client-level differential privacy: what a peer's round changes is bounded and blurred before anybody sees it.

Protected are all of a peer's data, exchanged for any others, against everybody who gets what it publishes (McMahan et
al., arXiv 1710.06963, but without a server that could be trusted with less noise). The change is cut to an L2 norm of
``clip``, so it moves by at most 2·clip; the noise of each number is normal with ``noiseMultiplier`` times that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.contract.privacy import DeltaPrivacy

State = Mapping[str, NDArray[np.float32]]
Entropy = Callable[[int], bytes]
"""So many random bytes, which nobody else can know."""
os_entropy: Entropy = os.urandom
_BITS: Final = 53


def deviation(privacy: DeltaPrivacy) -> float:
    """Standard deviation of the noise on each number."""
    return float(privacy.noise_multiplier) * 2 * float(privacy.clip)


def protected(
    before: State, after: State, privacy: DeltaPrivacy, entropy: Entropy = os_entropy
) -> dict[str, NDArray[np.float32]]:
    """``after``, as it may be published: ``before`` is known to all.

    A change that is not finite counts as none: that training overflowed is a word about the data, too.
    """
    changes = {
        n: after[n].astype(np.float64) - before[n].astype(np.float64) for n in sorted(before)
    }
    norm = math.sqrt(sum(float(np.square(change).sum()) for change in changes.values()))
    share = min(1.0, float(privacy.clip) / norm) if math.isfinite(norm) and norm else 0.0
    wide = deviation(privacy)
    return {
        name: (
            before[name]
            + (share * change if share else 0.0)
            + wide * normals(change.shape, entropy)
        ).astype(np.float32)
        for name, change in changes.items()
    }


def normals(shape: tuple[int, ...], entropy: Entropy = os_entropy) -> NDArray[np.float64]:
    """Standard normal numbers (Box and Muller) from random bytes: NumPy's generators could be told from what they gave."""
    count = math.prod(shape)
    bits = np.frombuffer(entropy(16 * count), np.uint64).reshape(2, count) >> (64 - _BITS)
    radius, angle = (bits.astype(np.float64) + 0.5) / 2.0**_BITS
    drawn: NDArray[np.float64] = np.sqrt(-2 * np.log(radius)) * np.cos(2 * math.pi * angle)
    return drawn.reshape(shape)
