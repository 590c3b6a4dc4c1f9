"""A state dict as bytes, for blobs. Pure NumPy.

``magic 8 | digest of the layout 32 | values``: the values of all tensors, sorted by name, each in C order,
as little-endian float32. Both sides know the layout (names and shapes); the digest refuses any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"HVSKF32\x01"
HEADER_BYTES: Final = len(MAGIC) + 32
_F32: Final = np.dtype("<f4")

State = Mapping[str, NDArray[np.float32]]


def is_finite(state: State) -> bool:
    """No value is infinite or NaN."""
    return all(np.isfinite(values).all() for values in state.values())


class CodecError(ValueError):
    """Bytes that are not a state of this layout."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a state, sorted by name."""

    entries: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, state: State) -> Layout:
        return cls(tuple((name, tuple(state[name].shape)) for name in sorted(state)))

    @cached_property
    def digest(self) -> bytes:
        """sha256 over names and shapes."""
        return hashlib.sha256(json.dumps(self.entries).encode()).digest()

    @cached_property
    def num_bytes(self) -> int:
        """Length of an encoded state."""
        return HEADER_BYTES + _F32.itemsize * sum(prod(shape) for _, shape in self.entries)

    def encode(self, state: State) -> bytes:
        """The state as bytes. Raises ``CodecError`` if it is of another layout."""
        if Layout.of(state) != self:
            raise CodecError("the state's names or shapes are not those of this layout")
        values = [np.ascontiguousarray(state[name], dtype=_F32) for name, _ in self.entries]
        return b"".join([MAGIC, self.digest, *(value.tobytes() for value in values)])

    def decode(self, data: bytes) -> dict[str, NDArray[np.float32]]:
        """Inverse of ``encode``: bit for bit, NaN and infinities included. The arrays are the caller's own.

        Raises ``CodecError`` if the bytes are of another layout or not whole.
        """
        if data[: len(MAGIC)] != MAGIC:
            raise CodecError("these bytes are no encoded state")
        if data[len(MAGIC) : HEADER_BYTES] != self.digest:
            raise CodecError("the state is of another layout: names or shapes differ")
        if len(data) != self.num_bytes:
            raise CodecError(f"the state has {len(data)} bytes, its layout needs {self.num_bytes}")
        state, at = {}, HEADER_BYTES
        for name, shape in self.entries:
            count = prod(shape)
            values = np.frombuffer(data, dtype=_F32, count=count, offset=at)
            state[name] = values.reshape(shape).astype(np.float32)
            at += count * _F32.itemsize
        return state
