"""What a peer says in the log beside its state: small, read by all, so that all decide alike."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from haversack_trainer.exchange.graphs import Edge
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES

_WORD: Final = struct.Struct("<If?HH")
_LINK: Final = struct.Struct("<Hf")
_EDGE: Final = struct.Struct("<HH")
_MOST_SAMPLES: Final = 2**32 - 1
_MOST: Final = 1e9
_LEAST_SECONDS: Final = 1e-9
MAX_EDGES: Final = 12_000
"""Of a plan: what a record has room for."""


@dataclass(frozen=True, slots=True)
class Word:
    """A peer's word in a round."""

    num_samples: int = 1
    """Its training samples."""
    bias: float = 0.0
    """Bound on the product's bias over the norm of the product, as it saw them in the round before."""
    has_moved: bool = False
    """Whether it has left the factor mixer (Auto only)."""
    links: Mapping[int, float] = field(default_factory=dict)
    """Seconds that a megabyte took from other peers in the round before (MeasuredLinks only)."""
    plan: tuple[Edge, ...] = ()
    """The graph, by the lowest peer (MeasuredLinks only)."""

    def encode(self) -> bytes:
        """Bytes for the payload's body."""
        samples, bias = min(self.num_samples, _MOST_SAMPLES), min(self.bias, _MOST)
        plan = self.plan[:MAX_EDGES]
        return b"".join(
            [
                _WORD.pack(samples, bias, self.has_moved, len(self.links), len(plan)),
                *(_LINK.pack(peer, min(seconds, _MOST)) for peer, seconds in self.links.items()),
                *(_EDGE.pack(*edge) for edge in plan),
            ]
        )


def words(closed: ClosedRound, max_staleness: int = 0) -> dict[int, Word]:
    """The words of all who published a state, in ascending order of peer; also of those who missed the round, if
    while it was open they published one that is at most ``max_staleness`` rounds old."""
    said = {payload.peer: payload for payload in closed.payloads}
    for peer in closed.missed:
        late = closed.newest_late(peer)
        if late is not None and closed.round - late.round <= max_staleness:
            said[peer] = late.payload
    return {
        peer: _read(said[peer]) for peer in sorted(said) if len(said[peer].body) >= DIGEST_BYTES
    }


def _read(payload: Payload) -> Word:
    """A word that is none counts as one that says nothing: all read the same bytes, so all judge alike."""
    body = payload.body[:-DIGEST_BYTES]
    if len(body) < _WORD.size:
        return Word()
    num_samples, bias, has_moved, num_links, num_edges = _WORD.unpack_from(body)
    edges_at = _WORD.size + num_links * _LINK.size
    if not math.isfinite(bias) or len(body) != edges_at + num_edges * _EDGE.size:
        return Word()
    links = {
        peer: max(seconds, _LEAST_SECONDS)
        for peer, seconds in _LINK.iter_unpack(body[_WORD.size : edges_at])
        if math.isfinite(seconds)
    }
    return Word(num_samples, bias, has_moved, links, tuple(_EDGE.iter_unpack(body[edges_at:])))
