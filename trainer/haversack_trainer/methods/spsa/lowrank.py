"""Directions of low rank, z = U·S·V^T / rank for each matrix: fewer dimensions to search (SubZero, arXiv 2410.08989).

S holds random signs of a direction's own. U and V are everybody's, for ``refresh`` rounds: columns of a Hadamard
matrix, each row with a random sign, orthogonal where a side is a power of two and nearly so elsewhere. All
entries are -1 or +1, so an element is a whole number of at most rank^2 in size, divided by rank; its variance is
1, as that of plain signs is. Coefficients are rounded to a grid, so that sums of products are whole numbers
below 2^53: exact in fp64 in any order, and so the same on every device. QR would not be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final

import numpy as np
import torch
from torch import Tensor

from .directions import TILE, Signs, Term, tiles
from .words import WORD_BITS, key, words, words_on

MAX_ASPECT: Final = 16
"""Matrices thinner than this (LoRA's factors) are taken as if they were nearly square."""
GRID_BITS: Final = 40
"""Of all coefficients together. With rank <= 64 a sum has at most 12 bits more."""
_LEFT_SALT: Final = 0xA54FF53A
_RIGHT_SALT: Final = 0x510E527F


@dataclass(frozen=True, slots=True)
class _Block:
    """A trainable tensor as a matrix within the vector; ``rows`` = 0 where it stays a plain vector."""

    index: int
    start: int
    rows: int
    columns: int
    numel: int


class LowRank:
    """Matrices get directions of low rank; what has no two sides longer than the rank gets signs."""

    def __init__(self, shapes: Sequence[torch.Size], seed: int, rank: int, refresh: int) -> None:
        """``shapes`` of the trainable tensors in canonical order; ``refresh`` in rounds."""
        sizes = [shape.numel() for shape in shapes]
        self._starts = [0, *accumulate(sizes)]
        self._blocks = [
            _Block(index, start, *_sides(shape, rank), shape.numel())
            for index, (start, shape) in enumerate(zip(self._starts, shapes, strict=False))
        ]
        self._seed, self._rank, self._refresh = seed, rank, refresh
        self._signs = Signs(self._starts[-1])

    def pieces(self, device: torch.device) -> Iterator[tuple[int, int]]:
        """Whole rows of a matrix, as many as make up a tile."""
        for block in self._blocks:
            if not block.rows:
                for start, end in tiles(block.numel, device):
                    yield block.start + start, block.start + end
                continue
            size = max(1, TILE[device.type] // block.columns) * block.columns
            for start in range(0, block.numel, size):
                yield block.start + start, block.start + min(start + size, block.numel)

    def add(self, part: Tensor, start: int, terms: Sequence[Term]) -> None:
        block = self._blocks[int(np.searchsorted(self._starts, start, side="right")) - 1]
        if not block.rows:
            self._signs.add(part, start, terms)
            return
        first, height = (start - block.start) // block.columns, part.numel() // block.columns
        for period, some in groupby(terms, lambda term: term.step // self._refresh):
            core, unit = self._core(list(some), block, part.device)
            left, right = (
                self._basis(key(self._seed, period, block.index, salt), side, rows, part.device)
                for salt, side, rows in (
                    (_LEFT_SALT, block.rows, range(first, first + height)),
                    (_RIGHT_SALT, block.columns, range(block.columns)),
                )
            )
            whole = (left @ core) @ right.T
            part += (whole * (unit / self._rank)).float().view(-1)

    def _core(
        self, terms: Sequence[Term], block: _Block, device: torch.device
    ) -> tuple[Tensor, float]:
        """Sum of coefficient times S ``[rank, rank]`` in whole multiples of the unit, and the unit."""
        total = math.fsum(abs(term.coefficient) for term in terms)
        unit = math.ldexp(1.0, math.frexp(total)[1] - GRID_BITS) if total else 1.0
        core = np.zeros(self._rank**2)
        for term in terms:
            drawn = words(key(term.key, block.index), 0, -(-core.size // WORD_BITS)).astype("<u8")
            bits = np.unpackbits(drawn.view(np.uint8), count=core.size, bitorder="little")
            core += round(term.coefficient / unit) * (bits * 2.0 - 1)
        return torch.from_numpy(core.reshape(self._rank, self._rank)).to(device), unit

    def _basis(self, identifier: int, side: int, rows: range, device: torch.device) -> Tensor:
        """Some rows of a basis ``[side, rank]``, fp64."""
        order = 1 << (side - 1).bit_length()
        shift, step = (int(word) for word in words(identifier, 0, 2))
        columns = [(shift + number * (step | 1)) % order for number in range(self._rank)]
        numbers = torch.arange(rows.start, rows.stop, device=device)
        parity = numbers[:, None] & torch.tensor(columns, device=device)
        for bits in (32, 16, 8, 4, 2, 1):
            parity = parity ^ (parity >> bits)
        # Words from 2 on: one for each row, of which one bit is enough.
        signs = words_on(device, identifier, 2 + rows.start, len(rows)) & 1
        return ((parity ^ signs[:, None]) & 1).double().mul_(2).sub_(1)


def _sides(shape: torch.Size, rank: int) -> tuple[int, int]:
    """Rows and columns of the matrix that a tensor is taken as; (0, 0) for none."""
    numel = shape.numel()
    rows = shape[0] if len(shape) > 1 else 1
    columns = numel // rows
    if max(rows, columns) > MAX_ASPECT * min(rows, columns):
        rows = next(side for side in range(math.isqrt(numel), 0, -1) if numel % side == 0)
        columns = numel // rows
    is_matrix = len(shape) > 1 and min(rows, columns) > rank
    return (rows, columns) if is_matrix else (0, 0)
