"""What a peer says in the log beside its state: small, read by all, so that all decide alike."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES

_WORD: Final = struct.Struct("<If?")
_MOST_SAMPLES: Final = 2**32 - 1
_MOST_BIAS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Word:
    """A peer's word in a round."""

    num_samples: int = 1
    """Its training samples."""
    bias: float = 0.0
    """Bound on the product's bias over the norm of the product, as it saw them in the round before."""
    has_moved: bool = False
    """Whether it has left the factor mixer (Auto only)."""

    def encode(self) -> bytes:
        """Bytes for the payload's body."""
        return _WORD.pack(
            min(self.num_samples, _MOST_SAMPLES), min(self.bias, _MOST_BIAS), self.has_moved
        )


def words(closed: ClosedRound) -> dict[int, Word]:
    """The words of all who published a state, in ascending order of peer."""
    return {payload.peer: _read(payload) for payload in closed.payloads if payload.body}


def _read(payload: Payload) -> Word:
    """A word that is none counts as one that says nothing: all read the same bytes, so all judge alike."""
    body = payload.body[:-DIGEST_BYTES]
    if len(body) != _WORD.size:
        return Word()
    num_samples, bias, has_moved = _WORD.unpack(body)
    return Word(num_samples, bias, has_moved) if math.isfinite(bias) else Word()
