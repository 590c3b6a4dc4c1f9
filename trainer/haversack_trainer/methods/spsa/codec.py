"""One byte for a scalar: a sign and seven bits of logarithm, on a scale that a block shares.

The block's scale is S = 2^(e/8) >= max |g|, with e in int8. Code 0 is zero; a magnitude code m in 1..127 is
|g| = S·2^(-(127-m)/8), at most 4.4 % off and over a range of 2^15.75; bit 7 is the sign; 0x80, the negative
zero, says INVALID. Decoding uses a table and ``ldexp`` only: libraries' ``pow`` differ in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

STEPS: Final = 8
"""Codes to a factor of two."""
TOP: Final = 127
SIGN: Final = 0x80
INVALID: Final = 0x80
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


def encode(scalars: Sequence[float]) -> tuple[int, bytes]:
    """Block exponent and one byte per scalar. What is not finite becomes INVALID."""
    top = max((abs(g) for g in scalars if math.isfinite(g)), default=0.0)
    exponent = min(max(math.ceil(_eighths(top)), -128), 127) if top else 0
    return exponent, bytes(_encode_one(g, exponent) for g in scalars)


def _encode_one(scalar: float, exponent: int) -> int:
    if not math.isfinite(scalar):
        return INVALID
    if scalar == 0:
        return 0
    magnitude = min(TOP - round(exponent - _eighths(abs(scalar))), TOP)
    if magnitude < 1:
        return 0
    return magnitude | (SIGN if scalar < 0 else 0)


def decode(exponent: int, codes: bytes) -> list[float | None]:
    """The scalars; None where INVALID."""
    return [_decode_one(code, exponent) for code in codes]


def _decode_one(code: int, exponent: int) -> float | None:
    if code == INVALID:
        return None
    magnitude = code & TOP
    if not magnitude:
        return 0.0
    size = _power(exponent - (TOP - magnitude))
    return -size if code & SIGN else size
