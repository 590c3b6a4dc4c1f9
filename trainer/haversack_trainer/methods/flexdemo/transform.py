"""The DCT of a flat vector's chunks, and an inverse that gives the same bits on every device.

A vector of n elements is cut into G = ceil(n/c) chunks of c, the last one padded with zeros. Coefficients
are kept coefficient-major, shape (c, G), so that work on all chunks at once runs along memory. Forward,
X·C^T in fp32: only the peer that does it sees its rounding. Inverse, Q·C: all peers must get the same, and
sums of floats depend on their order. So both factors are whole numbers of 24 bits held in fp64 (the caller
scales the coefficients of each chunk by a power of two). Any partial sum is then a whole number of at most
sqrt(c)·2^48 <= 2^52 (Cauchy-Schwarz; C's columns have norm 1), which fp64 holds exactly: every order of
summation gives the same bits.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import torch
from torch import Tensor

BITS: Final = 24
"""Of a fixed-point coefficient and of an entry of the matrix."""


def num_chunks(num_elements: int, chunk: int) -> int:
    """G; the last chunk has less than ``chunk`` elements of padding."""
    return -(-num_elements // chunk)


def _angle_table(chunk: int) -> list[list[float]]:
    """Row u: w_u·cos(pi·(2n+1)·u/(2c)), w_0 = sqrt(1/c), w_u = sqrt(2/c): orthonormal DCT-II."""
    return [
        [
            math.sqrt((1 if u == 0 else 2) / chunk)
            * math.cos(math.pi * (2 * n + 1) * u / (2 * chunk))
            for n in range(chunk)
        ]
        for u in range(chunk)
    ]


@cache
def dct_matrix(chunk: int, device: torch.device) -> Tensor:
    """C in fp32, shape (c, c)."""
    return torch.tensor(_angle_table(chunk), dtype=torch.float32, device=device)


@cache
def fixed_matrix(chunk: int, device: torch.device) -> Tensor:
    """C·2^24 rounded to whole numbers, fp64. Libraries' cosines differ in the last bit of 53, which rounding
    to 24 bits removes: a table entry is never that close to a half (tested)."""
    table = torch.tensor(_angle_table(chunk), dtype=torch.float64)
    return (table * 2.0**BITS).round().to(device)


def add_forward(momentum: Tensor, gradient: Tensor, beta: float) -> None:
    """``momentum = beta·momentum + DCT(gradient)`` in place; shapes (c, G) and (G, c)."""
    matrix = dct_matrix(momentum.shape[0], momentum.device)
    momentum.addmm_(matrix, gradient.t(), beta=beta)


def exponents(bound: Tensor) -> Tensor:
    """Per chunk, an e with ``bound <= 2^e``, int64; 0 where the bound is zero."""
    return torch.frexp(bound).exponent.long()


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent in fp64, made from its bits: libraries' powers need not be exact."""
    return ((exponent + 1023) << 52).view(torch.float64)


def inverse(coefficients: Tensor) -> Tensor:
    """IDCT of whole numbers of magnitude at most 2^24, in units of 2^-24: fp64, shape (G, c)."""
    return coefficients @ fixed_matrix(coefficients.shape[1], coefficients.device)
