"""Lengths of payloads, exactly (no torch here): what the schemes write, and what a job is planned with."""

from __future__ import annotations

import math
from typing import Final

from .options import Options
from .settings import Scheme, ValueType

GROUP: Final = 64
"""Values of a flat vector that share a scale when only signs are sent."""
HEADER_BYTES: Final = 12
"""Of a payload: magic, and a digest of what it is for."""


def num_value_bytes(kind: ValueType, rows: int, columns: int) -> int:
    """Of a matrix of that shape."""
    match kind:
        case ValueType.FP32:
            return 4 * rows * columns
        case ValueType.BF16:
            return 2 * rows * columns
        case ValueType.SIGN:
            return -(-rows * columns // 8) + 2 * columns


def index_bits(chunk: int) -> int:
    """Bits of a position within a chunk, a power of two."""
    return (chunk - 1).bit_length()


def num_index_bytes(bits: int, count: int) -> int:
    """Of ``count`` packed numbers."""
    return bits * (-(-count // 8))


def num_picked(options: Options, count: int) -> int:
    """Of ``count`` elements, those that are sent without an index; at least one, so that small tensors train,
    too. Striding's numbers differ by one from step to step; this is the most."""
    if options.scheme in {Scheme.FULL, Scheme.DILOCO}:
        return count
    if options.scheme is Scheme.STRIDING:
        return -(-count // math.ceil(1 / options.rate))
    return min(count, max(1, math.ceil(options.rate * count)))


def picked_shape(kind: ValueType, num_sent: int) -> tuple[int, int]:
    """Rows and columns of values without indices: a column is what shares a scale."""
    rows = GROUP if kind is ValueType.SIGN else 1
    return rows, -(-num_sent // rows)


def part_bytes(options: Options, count: int) -> int:
    """Of what is sent of ``count`` elements."""
    if options.scheme is not Scheme.DEMO:
        shape = picked_shape(options.value_type, num_picked(options, count))
        return num_value_bytes(options.value_type, *shape)
    num_chunks = -(-count // options.chunk)
    indices = num_index_bytes(index_bits(options.chunk), options.top_k * num_chunks)
    return num_value_bytes(options.value_type, options.top_k, num_chunks) + indices
