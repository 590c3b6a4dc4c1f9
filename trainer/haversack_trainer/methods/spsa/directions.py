"""Random signs that every peer can make again from an identifier alone.

Element i of direction z(key) is a pure function of (key, i): the same on every device and in every slice.
Signs (Rademacher) rather than normal deviates, because c·z is then exact in fp32, so that an update
rounds alike everywhere, and because their estimator has the lower variance (E z^4 = 1 instead of 3).
Words come from splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

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
TILE: Final = {"cpu": 2**16, "cuda": 2**22}
"""Elements of a direction that exist at a time: what the L2 cache, or one kernel launch, is good for."""


class Term(NamedTuple):
    """``coefficient`` times z(``key``)."""

    key: int
    coefficient: float


def mix(x: int) -> int:
    """splitmix64's finaliser."""
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def key(seed: int, step: int, peer: int, direction: int) -> int:
    """The identifier's hash. Each field goes through ``mix``: neighbouring raw seeds would give
    shifted copies of one stream."""
    hashed = mix((seed & _MASK) ^ RUN_SALT)
    for part in (step, peer, direction):
        hashed = mix((hashed + part) & _MASK)
    return hashed


def words(key: int, first: int, count: int) -> NDArray[np.uint64]:
    """Words ``first`` to ``first + count`` of the key's stream; bit b of word q is element 64·q + b."""
    x = np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(GAMMA)
    x += np.uint64(key)
    x ^= x >> np.uint64(30)
    x *= np.uint64(_FIRST)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_SECOND)
    x ^= x >> np.uint64(31)
    return x


@cache
def _signs_of_bytes(device: torch.device) -> Tensor:
    """Row b holds the eight signs of byte b, lowest bit first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1).to(device)


def scaled(term: Term, start: int, count: int, device: torch.device) -> Tensor:
    """Elements ``start`` to ``start + count`` of ``term``, fp32. One bit per element is moved to the device."""
    first, skip = divmod(start, WORD_BITS)
    num_words = -(-(skip + count) // WORD_BITS)
    octets = words(term.key, first, num_words).astype("<u8").view(np.uint8)
    rows = torch.from_numpy(octets.astype(np.int32)).to(device)
    table = _signs_of_bytes(device) * term.coefficient
    return table.index_select(0, rows).view(-1)[skip : skip + count]


def add(flat: Tensor, terms: Sequence[Term]) -> None:
    """``flat += sum of terms``, in the order given, in place. All terms are added to one tile before
    the next, so that the vector is read and written once."""
    tile = TILE[flat.device.type]
    for start in range(0, flat.numel(), tile):
        part = flat[start : start + tile]
        for term in terms:
            part += scaled(term, start, part.numel(), flat.device)
