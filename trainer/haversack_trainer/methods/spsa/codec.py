"""One byte for a scalar: a sign and seven bits of logarithm, on a scale that a block shares. Or one bit.

The block's scale is S = 2^(e/8) >= max |g|, with e in int8. Code 0 is zero; a magnitude code m in 1..127 is
|g| = S·2^(-(127-m)/8), at most 4.4 % off and over a range of 2^15.75; bit 7 is the sign; 0x80, the negative
zero, says INVALID. Decoding uses a table and ``ldexp`` only: libraries' ``pow`` differ in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat
from typing import Final

STEPS: Final = 8
"""Codes to a factor of two."""
TOP: Final = 127
SIGN: Final = 0x80
INVALID: Final = 0x80
NEAREST: Final = 0.5
"""The threshold that stands for rounding to the nearest code."""
_ROOTS: Final = (
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.681792830507429,
    1.8340080864093424,
)
"""2^(k/8)."""


def _power(eighths: int) -> float:
    whole, part = divmod(eighths, STEPS)
    return math.ldexp(_ROOTS[part], whole)


def _eighths(magnitude: float) -> float:
    return STEPS * math.log2(magnitude)


def encode(scalars: Sequence[float], chances: Sequence[float] | None = None) -> tuple[int, bytes]:
    """Block exponent and one byte per scalar. What is not finite becomes INVALID.

    ``chances``, one uniform number in [0, 1) for each scalar, round at random between the two codes beside
    it, so that the expected value of what is decoded is the scalar itself.
    """
    top = max((abs(g) for g in scalars if math.isfinite(g)), default=0.0)
    exponent = min(max(math.ceil(_eighths(top)), -128), 127) if top else 0
    pairs = zip(scalars, chances or repeat(None), strict=False)
    return exponent, bytes(_encode_one(g, exponent, chance) for g, chance in pairs)


def _encode_one(scalar: float, exponent: int, chance: float | None) -> int:
    if not math.isfinite(scalar):
        return INVALID
    if scalar == 0:
        return 0
    level = TOP - exponent + _eighths(abs(scalar))
    rounded = round(level) if chance is None else _at_random(abs(scalar), level, exponent, chance)
    magnitude = min(rounded, TOP)
    if magnitude < 1:
        return 0
    return magnitude | (SIGN if scalar < 0 else 0)


def _at_random(magnitude: float, level: float, exponent: int, chance: float) -> int:
    lower = min(max(math.floor(level), 0), TOP)
    below, above = _size(lower, exponent), _size(lower + 1, exponent)
    return lower + (chance * (above - below) < magnitude - below)


def decode(exponent: int, codes: bytes) -> list[float | None]:
    """The scalars; None where INVALID."""
    return [_decode_one(code, exponent) for code in codes]


def _decode_one(code: int, exponent: int) -> float | None:
    if code == INVALID:
        return None
    size = _size(code & TOP, exponent)
    return -size if code & SIGN else size


def _size(magnitude: int, exponent: int) -> float:
    return _power(exponent - (TOP - magnitude)) if magnitude else 0.0


def encode_signs(scalars: Sequence[float]) -> bytes:
    """One bit per scalar, lowest first, set where it is negative. Where any is not finite, as many bits
    again follow, set where the scalar is INVALID."""
    bits = [scalar < 0 for scalar in scalars]
    invalid = [not math.isfinite(scalar) for scalar in scalars]
    return _packed(bits) + (_packed(invalid) if any(invalid) else b"")


def decode_signs(body: bytes, count: int) -> list[float | None] | None:
    """-1, +1, or None where INVALID; None for all if this is not the sign code of ``count`` scalars."""
    size = -(-count // 8)
    if len(body) not in {size, 2 * size}:
        return None
    negative, invalid = (int.from_bytes(part, "little") for part in (body[:size], body[size:]))
    return [
        None if invalid >> index & 1 else -1.0 if negative >> index & 1 else 1.0
        for index in range(count)
    ]


def _packed(bits: Sequence[bool]) -> bytes:
    whole = sum(bit << place for place, bit in enumerate(bits))
    return whole.to_bytes(-(-len(bits) // 8), "little")
