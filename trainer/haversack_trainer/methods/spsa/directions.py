"""Random directions that every peer can make again from an identifier alone.

Element i of direction z(key) is a pure function of (key, i): the same on every device and in every slice.
Signs (Rademacher) are the default rather than normal deviates, because c·z is then exact in fp32, so that an
update rounds alike everywhere, and because their estimator has the lower variance (E z^4 = 1 instead of 3).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .words import WORD_BITS, words, words_on

TILE: Final = {"cpu": 2**16, "cuda": 2**22}
"""Elements of a direction that exist at a time: what the L2 cache, or one kernel launch, is good for."""


class Term(NamedTuple):
    """``coefficient``, an fp32 number, times z(``key``) of round ``step``."""

    key: int
    coefficient: float
    step: int = 0


class Directions(Protocol):
    """One distribution of directions in R^d."""

    def pieces(self, device: torch.device) -> Iterator[tuple[int, int]]:
        """Start and end of the slices of [0, d) to work on one after the other."""

    def add(self, part: Tensor, start: int, terms: Sequence[Term]) -> None:
        """``part += sum of terms``, in place and in fp32; ``part`` is the vector's piece from ``start``."""


def tiles(numel: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """Pieces of one size, the last may be shorter."""
    size = TILE[device.type]
    for start in range(0, numel, size):
        yield start, min(start + size, numel)


class Signs:
    """z is -1 or +1: bit b of word q is element 64·q + b.

    Terms are added one after the other, all to one tile before the next, so that the vector is read and
    written once and no direction ever exists as a whole.
    """

    def __init__(self, numel: int) -> None:
        self._numel = numel

    def pieces(self, device: torch.device) -> Iterator[tuple[int, int]]:
        return tiles(self._numel, device)

    def add(self, part: Tensor, start: int, terms: Sequence[Term]) -> None:
        if part.device.type == "cpu":
            add_signs(part.numpy(), start, terms)
        else:
            add_signs_on_device(part, start, terms)


def add_signs(part: NDArray[np.float32], start: int, terms: Sequence[Term]) -> None:
    """On a CPU: a byte of a word chooses its eight signed coefficients from a table that fits in L1."""
    first, num_words, inside = _span(start, part.size)
    rows = _rows()[: num_words * 8] if part.size <= TILE["cpu"] else _new_rows(num_words)
    flat = rows.reshape(-1)[inside]
    for term in terms:
        octets = words(term.key, first, num_words).astype("<u8", copy=False).view(np.uint8)
        table = _SIGNS_OF_BYTES * np.float32(term.coefficient)
        np.take(table, octets, axis=0, out=rows, mode="clip")
        part += flat


def add_signs_on_device(part: Tensor, start: int, terms: Sequence[Term]) -> None:
    """The same bits by torch's own kernels, words included: nothing is moved to the device."""
    first, num_words, inside = _span(start, part.numel())
    for term in terms:
        octets = words_on(part.device, term.key, first, num_words).view(torch.uint8).int()
        table = _signs_of_bytes(part.device) * term.coefficient
        part += table.index_select(0, octets).view(-1)[inside]


def _span(start: int, count: int) -> tuple[int, int, slice]:
    """First word, number of words, and where in their bits the elements are."""
    first, skip = divmod(start, WORD_BITS)
    return first, -(-(skip + count) // WORD_BITS), slice(skip, skip + count)


_SIGNS_OF_BYTES: Final = (
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(
        np.float32
    )
    * 2
    - 1
)
"""Row b holds the eight signs of byte b, lowest bit first."""


def _new_rows(num_words: int) -> NDArray[np.float32]:
    return np.empty((num_words * 8, 8), np.float32)


_thread = threading.local()


def _rows() -> NDArray[np.float32]:
    """Memory for a tile that begins and ends anywhere in a word, one for each thread: new memory for each
    tile would cost more than what is done in it."""
    if not hasattr(_thread, "rows"):
        _thread.rows = _new_rows(TILE["cpu"] // WORD_BITS + 2)
    found: NDArray[np.float32] = _thread.rows
    return found


@cache
def _signs_of_bytes(device: torch.device) -> Tensor:
    return torch.from_numpy(_SIGNS_OF_BYTES).to(device)
