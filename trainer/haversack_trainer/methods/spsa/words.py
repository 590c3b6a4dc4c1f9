"""Random words that every machine makes alike: splitmix64 (Steele, Lea, Flood, 2014) in counter mode.

Word q of a stream is a pure function of (key, q), in integers only, so it does not depend on the device, on what
was drawn before or on where a slice begins. torch's own generators promise none of these.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAMMA: Final = 0x9E3779B97F4A7C15
RUN_SALT: Final = 0x6A09E667F3BCC909
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB
_MASK: Final = 2**64 - 1
WORD_BITS: Final = 64

Words = NDArray[np.uint64]


def mix(x: int) -> int:
    """splitmix64's finaliser, a bijection of 64-bit numbers."""
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def key(seed: int, *fields: int) -> int:
    """The hash of an identifier: (seed, step, peer, direction) for a direction. Each field goes through
    ``mix``: neighbouring raw seeds would give shifted copies of one stream."""
    hashed = mix((seed & _MASK) ^ RUN_SALT)
    for part in fields:
        hashed = mix((hashed + part) & _MASK)
    return hashed


def words(key: int, first: int, count: int) -> Words:
    """Words ``first`` to ``first + count`` of the key's stream."""
    x = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    x *= np.uint64(GAMMA)
    x += np.uint64(key)
    x ^= x >> np.uint64(30)
    x *= np.uint64(_FIRST)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_SECOND)
    x ^= x >> np.uint64(31)
    return x


def words_on(device: torch.device, key: int, first: int, count: int) -> Tensor:
    """The same words, made on ``device``, as int64 of the same bits: torch has no arithmetic on uint64."""
    x = torch.arange(first + 1, first + count + 1, dtype=torch.int64, device=device)
    x.mul_(_signed(GAMMA)).add_(_signed(key))
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        x.bitwise_xor_(_shifted(x, shift)).mul_(_signed(factor))
    return x.bitwise_xor_(_shifted(x, 31))


def _shifted(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; int64's own copies the sign."""
    return (x >> bits).bitwise_and_((1 << (WORD_BITS - bits)) - 1)


def _signed(x: int) -> int:
    return x - 2**64 if x >> 63 else x
