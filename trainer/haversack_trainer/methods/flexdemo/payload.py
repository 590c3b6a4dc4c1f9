"""A node's payload: ``magic 4 | digest of what it is for 8 | one part per bucket``, with nothing between."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from .options import Options
from .sizes import HEADER_BYTES
from .values import PayloadError

MAGIC: Final = b"HVFD"
_DIGEST_BYTES: Final = HEADER_BYTES - len(MAGIC)


@dataclass(frozen=True, slots=True)
class Frame:
    """Sender and receivers know the parts' lengths; the digest refuses what is cut otherwise."""

    options: Options
    sizes: tuple[int, ...]
    """Elements of each bucket."""
    lengths: tuple[int, ...]
    """Bytes of each part."""

    @property
    def num_bytes(self) -> int:
        """Of the whole payload."""
        return HEADER_BYTES + sum(self.lengths)

    @property
    def header(self) -> bytes:
        o = self.options
        cut = [o.scheme, o.value_type, o.seed, o.chunk, o.top_k, o.rate, *self.sizes, *self.lengths]
        return MAGIC + hashlib.sha256(repr(list(map(str, cut))).encode()).digest()[:_DIGEST_BYTES]

    def pack(self, parts: Sequence[bytes]) -> bytes:
        """One buffer."""
        return b"".join([self.header, *parts])

    def unpack(self, payload: bytes) -> list[memoryview]:
        """The parts, in order. Raises ``PayloadError``."""
        if payload[:HEADER_BYTES] != self.header:
            raise PayloadError("these bytes are of another scheme, shape or run")
        if len(payload) != self.num_bytes:
            raise PayloadError(f"the payload has {len(payload)} bytes instead of {self.num_bytes}")
        whole = memoryview(payload)
        ends = accumulate(self.lengths, initial=HEADER_BYTES)
        return [whole[start:end] for start, end in pairwise(ends)]
