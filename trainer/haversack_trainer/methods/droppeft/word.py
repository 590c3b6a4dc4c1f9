"""What a peer says of its round beside its tensors, as bytes in the log. Pure.

``layers 2 | steps 2 | samples 4 | active steps of each layer 2·L | shared layers ceil(L/8)``, little-endian, and
with a configurator ``arm 8 | gain 8 | seconds 8 | class of machine 16``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

_HEADER: Final = struct.Struct("<HHI")
_COUNT: Final = np.dtype("<u2")
_TRIAL: Final = struct.Struct("<ddd16s")
KIND_BYTES: Final = 16


class WordError(ValueError):
    """Bytes that are no peer's word on a model of so many layers."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a round with a drop rate gained."""

    arm: float
    gain: float
    seconds: float
    kind: str
    """Class of the machine, at most 16 bytes."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and 0 <= self.arm < 1 and 0 < self.seconds < math.inf):
            raise WordError("a trial needs a rate below 1, a finite gain and the seconds it took")

    def encode(self) -> bytes:
        return _TRIAL.pack(self.arm, self.gain, self.seconds, self.kind.encode()[:KIND_BYTES])

    @classmethod
    def decode(cls, data: bytes) -> Trial:
        """Inverse of ``encode``. Raises ``WordError``."""
        arm, gain, seconds, kind = _TRIAL.unpack(data)
        return cls(arm, gain, seconds, kind.rstrip(b"\0").decode(errors="replace"))


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
    trial: Trial | None = None

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
        head = _HEADER.pack(len(self.active), self.steps, self.num_samples)
        return head + counts + bits + (self.trial.encode() if self.trial else b"")

    @classmethod
    def decode(cls, data: bytes, num_layers: int) -> Word:
        """Inverse of ``encode``. Raises ``WordError``."""
        plain = num_bytes(num_layers)
        if len(data) not in {plain, plain + _TRIAL.size}:
            raise WordError(f"{len(data)} bytes for {num_layers} layers")
        layers, steps, num_samples = _HEADER.unpack_from(data)
        if layers != num_layers:
            raise WordError(f"{layers} layers, here {num_layers}")
        counts = np.frombuffer(data, _COUNT, layers, _HEADER.size)
        raw = np.frombuffer(data[:plain], np.uint8, offset=_HEADER.size + counts.nbytes)
        bits = np.unpackbits(raw, count=layers, bitorder="little")
        trial = Trial.decode(data[plain:]) if len(data) > plain else None
        return cls(steps, num_samples, tuple(counts.tolist()), tuple(map(bool, bits)), trial)


def num_bytes(num_layers: int) -> int:
    """Length of an encoded word without a trial."""
    return _HEADER.size + _COUNT.itemsize * num_layers + -(-num_layers // 8)
