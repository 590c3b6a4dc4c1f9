"""A state in 8 or 4 bits a value, for blobs. Pure NumPy.

``magic 8 | digest of the layout 32 | per tensor, sorted by name: scales, codes``. Values go in blocks of 64, never
across tensors, so a small B is not measured by a large A. A block's scale is the upper half of a float32, rounded
up: no value is clipped, and none is too small. Rounding is stochastic, hence unbiased. int4 packs two codes a byte,
the lower half first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .codec import HEADER_BYTES, CodecError, Layout, State

BLOCK: Final = 64
_MAGICS: Final[Mapping[int, bytes]] = {8: b"HVSKQ08\x01", 4: b"HVSKQ04\x01"}
_SCALE_BYTES: Final = 2
_HALF: Final = 16


@dataclass(frozen=True, slots=True)
class QuantisedLayout:
    """How states of a layout are written in ``bits`` a value."""

    layout: Layout
    bits: int

    @property
    def num_bytes(self) -> int:
        """Length of an encoded state."""
        return HEADER_BYTES + sum(self._sizes(prod(shape))[2] for _, shape in self.layout.entries)

    def encode(self, state: State, random: np.random.Generator) -> bytes:
        """The state as bytes; its values are finite. Raises ``CodecError`` if it is of another layout."""
        if Layout.of(state) != self.layout:
            raise CodecError("the state's names or shapes are not those of this layout")
        parts = [self._encode(state[name].ravel(), random) for name, _ in self.layout.entries]
        return b"".join([_MAGICS[self.bits], self.layout.digest, *parts])

    def decode(self, data: bytes) -> dict[str, NDArray[np.float32]]:
        """What the sender and all others take the state to be. Raises ``CodecError``."""
        if data[:HEADER_BYTES] != _MAGICS[self.bits] + self.layout.digest:
            raise CodecError("these bytes are no state of this layout and precision")
        if len(data) != self.num_bytes:
            raise CodecError(f"the state has {len(data)} bytes, its layout needs {self.num_bytes}")
        state, at = {}, HEADER_BYTES
        for name, shape in self.layout.entries:
            state[name] = self._decode(data[at:], prod(shape)).reshape(shape)
            at += self._sizes(prod(shape))[2]
        return state

    @property
    def _most(self) -> int:
        return int(2 ** (self.bits - 1)) - 1

    def _sizes(self, count: int) -> tuple[int, int, int]:
        """Number of blocks, bytes of the scales, bytes of scales and codes."""
        blocks = -(-count // BLOCK)
        scales = blocks * _SCALE_BYTES
        return blocks, scales, scales + (count * self.bits + 7) // 8

    def _encode(self, values: NDArray[np.float32], random: np.random.Generator) -> bytes:
        blocks = np.zeros((self._sizes(values.size)[0], BLOCK))
        blocks.ravel()[: values.size] = values
        scales = _rounded_up((np.abs(blocks).max(axis=1, initial=0.0) / self._most).astype("<f4"))
        steps = scales.astype(np.float64)[:, None]
        exact = np.divide(blocks, steps, out=np.zeros_like(blocks), where=steps > 0)
        codes = np.floor(exact + random.random(exact.shape)).clip(-self._most, self._most)
        whole = codes.astype(np.int8).ravel()[: values.size]
        return (scales.view("<u4") >> _HALF).astype("<u2").tobytes() + self._packed(whole)

    def _packed(self, codes: NDArray[np.int8]) -> bytes:
        if self.bits == 8:  # noqa: PLR2004  # a byte each
            return codes.tobytes()
        nibbles = (codes.view(np.uint8) & 0xF).astype(np.uint8)
        even = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
        return (even[0::2] | (even[1::2] << 4)).astype(np.uint8).tobytes()

    def _decode(self, data: bytes, count: int) -> NDArray[np.float32]:
        blocks, start, end = self._sizes(count)
        raw = np.frombuffer(data, dtype="<u2", count=blocks).astype("<u4") << _HALF
        scales = np.repeat(raw.astype("<u4").view("<f4"), BLOCK)[:count]
        codes = self._unpacked(np.frombuffer(data[start:end], dtype=np.uint8), count)
        return np.asarray(codes * scales, dtype=np.float32)

    def _unpacked(self, data: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
        if self.bits == 8:  # noqa: PLR2004  # a byte each
            return data.view(np.int8).astype(np.float32)
        nibbles = np.stack([data & 0xF, data >> 4], axis=1).ravel()[:count].astype(np.int8)
        return (((nibbles + 8) & 0xF) - 8).astype(np.float32)


def _rounded_up(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """To the next float32 whose lower half is zero."""
    lifted = (scales.view("<u4").astype(np.uint64) + 0xFFFF) >> _HALF << _HALF
    return lifted.astype("<u4").view("<f4")
