"""The k largest of each column, by a sorting network on whole rows: no branch, all chunks at once.

A magnitude and its row become one integer: the bits of a positive float are ordered as the float is, and
the lowest log2(c) of them give way to the row. Two magnitudes closer than 2^-(23 - log2(c)) are a tie,
which the lower row wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor


def top_rows(values: Tensor, k: int) -> Tensor:
    """Rows of the k largest magnitudes of each column; uint8, shape (k, columns), largest first.

    ``values``: fp32, finite, shape (c, columns), c a power of two of at most 256.
    """
    num_rows = values.shape[0]
    low = num_rows - 1
    width = 1 << (k - 1).bit_length()
    mask = 0x7FFFFFFF & ~low
    keys = (
        values.view(torch.int32).bitwise_and(mask).bitwise_or_(_reversed(num_rows, values.device))
    )
    lists = list(keys.view(width, num_rows // width, -1))
    for a, b in _sorting_pairs(width):
        _compare(lists, a, b)
    while lists[0].shape[0] > 1:
        lists = _merge(lists)
    best = torch.cat(lists[:k])
    return (low - best.bitwise_and_(low)).to(torch.uint8)


@cache
def _reversed(count: int, device: torch.device) -> Tensor:
    return torch.arange(count - 1, -1, -1, dtype=torch.int32, device=device)[:, None]


def _compare(lists: list[Tensor], a: int, b: int) -> None:
    """The larger to ``a``, the smaller to ``b``."""
    lists[a], lists[b] = (
        torch.maximum(lists[a], lists[b]),
        torch.minimum(lists[a], lists[b]),
    )


def _merge(lists: list[Tensor]) -> list[Tensor]:
    """Of every two sorted lists the upper half of their union, sorted (Batcher's bitonic merge)."""
    half, width = lists[0].shape[0] // 2, len(lists)
    upper = [torch.maximum(lists[i][:half], lists[width - 1 - i][half:]) for i in range(width)]
    for a, b in _cleaning_pairs(width):
        _compare(upper, a, b)
    return upper


def _cleaning_pairs(width: int) -> Iterator[tuple[int, int]]:
    """Sorts a bitonic sequence."""
    stride = width // 2
    while stride:
        yield from ((i, i + stride) for i in range(width) if not i & stride)
        stride //= 2


def _sorting_pairs(width: int) -> Iterator[tuple[int, int]]:
    """Batcher's odd-even merge sort, descending."""
    p = 1
    while p < width:
        k = p
        while k:
            for j in range(k % p, width - k, 2 * k):
                for i in range(min(k, width - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        yield i + j, i + j + k
            k //= 2
        p *= 2
