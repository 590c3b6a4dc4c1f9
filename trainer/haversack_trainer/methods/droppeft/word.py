"""What a peer says of its round beside its tensors, as bytes in the log. Pure.

``layers 2 | steps 2 | samples 4 | active steps of each layer 2·L | shared layers ceil(L/8)``, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

_HEADER: Final = struct.Struct("<HHI")
_COUNT: Final = np.dtype("<u2")


class WordError(ValueError):
    """Bytes that are no peer's word on a model of so many layers."""


@dataclass(frozen=True, slots=True)
class Word:
    """One peer's round."""

    steps: int
    """Optimizer steps that were made."""
    num_samples: int
    active: tuple[int, ...]
    """Of each layer, the steps in which it ran."""
    shared: tuple[bool, ...]
    """Layers whose tensors may travel; they do if they were active."""

    def __post_init__(self) -> None:
        if len(self.active) != len(self.shared) or self.steps < 1 or self.num_samples < 1:
            raise WordError("a round's word needs steps, samples and a count for each layer")
        if max(self.active, default=0) > self.steps:
            raise WordError("a layer was active in more steps than there were")

    @property
    def sent(self) -> frozenset[int]:
        """Layers whose tensors are in the blob."""
        both = zip(self.active, self.shared, strict=True)
        return frozenset(n for n, (active, shared) in enumerate(both) if active and shared)

    def encode(self) -> bytes:
        counts = np.array(self.active, _COUNT).tobytes()
        bits = np.packbits(self.shared, bitorder="little").tobytes()
        return _HEADER.pack(len(self.active), self.steps, self.num_samples) + counts + bits

    @classmethod
    def decode(cls, data: bytes, num_layers: int) -> Word:
        """Inverse of ``encode``. Raises ``WordError``."""
        if len(data) != num_bytes(num_layers):
            raise WordError(f"{len(data)} bytes for {num_layers} layers")
        layers, steps, num_samples = _HEADER.unpack_from(data)
        if layers != num_layers:
            raise WordError(f"{layers} layers, here {num_layers}")
        counts = np.frombuffer(data, _COUNT, layers, _HEADER.size)
        raw = np.frombuffer(data, np.uint8, offset=_HEADER.size + counts.nbytes)
        bits = np.unpackbits(raw, count=layers, bitorder="little")
        return cls(steps, num_samples, tuple(counts.tolist()), tuple(map(bool, bits)))


def num_bytes(num_layers: int) -> int:
    """Length of an encoded word."""
    return _HEADER.size + _COUNT.itemsize * num_layers + -(-num_layers // 8)
