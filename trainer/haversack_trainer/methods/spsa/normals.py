"""Normal deviates for comparison with MeZO: slower than signs, but the same bits everywhere, too.

Box-Muller from the same words. Logarithm, sine and cosine are written out in fp64 additions, multiplications,
divisions and square roots, each an operation of its own: those IEEE 754 rounds alike on every device, while
libraries' ``log`` and ``cos`` differ in the last bit. Series are cut below 1e-16 of the value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from .directions import Term, tiles
from .words import words_on

PER_WORD: Final = 2
"""Deviates that one word gives."""
_HALF_BITS: Final = 32
_ANGLE_BITS: Final = 30
_LOG_TERMS: Final = 11
_SINE_TERMS: Final = 9


class Normals:
    """z is standard normal: word q gives elements 2·q and 2·q + 1."""

    def __init__(self, numel: int) -> None:
        self._numel = numel

    def pieces(self, device: torch.device) -> Iterator[tuple[int, int]]:
        return tiles(self._numel, device)

    def add(self, part: Tensor, start: int, terms: Sequence[Term]) -> None:
        for term in terms:
            z = deviates(term.key, start, part.numel(), part.device)
            part += z.mul_(term.coefficient)


def deviates(key: int, start: int, count: int, device: torch.device) -> Tensor:
    """Elements ``start`` to ``start + count`` of z(``key``), fp32."""
    first, skip = divmod(start, PER_WORD)
    x = words_on(device, key, first, -(-(skip + count) // PER_WORD))
    low, high = x & (2**_HALF_BITS - 1), (x >> _HALF_BITS) & (2**_HALF_BITS - 1)
    radius = (_log((high.double() + 1) * 2.0**-_HALF_BITS) * -2).sqrt_()
    # Two bits choose one of four equal arcs, the others a place in an arc around angle 0.
    place = (low & (2**_ANGLE_BITS - 1)).double() * 2.0**-_ANGLE_BITS
    sine, cosine = _sine_and_cosine((place - 0.5) * (math.pi / 2))
    swapped, sign = (low >> _ANGLE_BITS) & 1, ((low >> (_ANGLE_BITS + 1)) * 2 - 1).double()
    pair = torch.stack(
        [torch.where(swapped == 1, sine, cosine), torch.where(swapped == 1, cosine, sine)], dim=1
    )
    flat: Tensor = (pair * (radius * sign)[:, None]).float().view(-1)
    return flat[skip : skip + count]


def _log(x: Tensor) -> Tensor:
    """Natural logarithm of fp64 numbers > 0: 2·artanh((m - 1)/(m + 1)) + e·ln 2 for x = m·2^e."""
    mantissa, exponent = torch.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa = torch.where(small, mantissa * 2, mantissa)
    exponent = exponent.double() - small.double()
    s = (mantissa - 1) / (mantissa + 1)
    square, series = s * s, torch.zeros_like(s)
    for power in reversed(range(1, 2 * _LOG_TERMS, 2)):
        series = series * square + 1 / power
    return s * series * 2 + exponent * math.log(2)


def _sine_and_cosine(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of angles in [-pi/4, pi/4], by their Taylor series."""
    square = x * x
    sine, cosine = torch.zeros_like(x), torch.zeros_like(x)
    for index in reversed(range(_SINE_TERMS)):
        sign = (-1) ** index
        sine = sine * square + sign / math.factorial(2 * index + 1)
        cosine = cosine * square + sign / math.factorial(2 * index)
    return sine * x, cosine
