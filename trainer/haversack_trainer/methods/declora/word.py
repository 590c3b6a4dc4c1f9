"""What a peer says in the log beside its state: small, read by all, so that all decide alike."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from haversack_trainer.exchange.graphs import Edge
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES

_WORD: Final = struct.Struct("<IfBHH")
_LINK: Final = struct.Struct("<Hf")
_EDGE: Final = struct.Struct("<HH")
_MASS: Final = struct.Struct("<d")
_COUNT: Final = struct.Struct("<H")
_LOSS: Final = struct.Struct("<IH")
_HAS_MOVED: Final = 1
_HAS_MASS: Final = 2
_HAS_LOST: Final = 4
_MOST_SAMPLES: Final = 2**32 - 1
_MOST: Final = 1e9
_LEAST_SECONDS: Final = 1e-9
MAX_EDGES: Final = 12_000
"""Of a plan: what a record has room for."""
MAX_LOST: Final = 512


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
    mass: float | None = None
    """What its state counts (PushSum only)."""
    lost: tuple[tuple[int, int], ...] = ()
    """Round and peer of states that were due to it and that it could not read."""

    def encode(self) -> bytes:
        """Bytes for the payload's body."""
        samples, bias = min(self.num_samples, _MOST_SAMPLES), min(self.bias, _MOST)
        plan, lost = self.plan[:MAX_EDGES], self.lost[:MAX_LOST]
        flags = _HAS_MOVED * self.has_moved | _HAS_MASS * (self.mass is not None)
        flags |= _HAS_LOST * bool(lost)
        return b"".join(
            [
                _WORD.pack(samples, bias, flags, len(self.links), len(plan)),
                *(_LINK.pack(peer, min(seconds, _MOST)) for peer, seconds in self.links.items()),
                *(_EDGE.pack(*edge) for edge in plan),
                b"" if self.mass is None else _MASS.pack(self.mass),
                _COUNT.pack(len(lost)) if lost else b"",
                *(_LOSS.pack(*loss) for loss in lost),
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


def was_only_late(rounds: Sequence[ClosedRound], peer: int, max_staleness: int | None) -> bool:
    """Whether the peer has missed these rounds, but not too many, and was there all the time."""
    return len(rounds) <= (max_staleness or 0) and all(peer in closed.missed for closed in rounds)


def _read(payload: Payload) -> Word:
    """A word that is none counts as one that says nothing: all read the same bytes, so all judge alike."""
    body = payload.body[:-DIGEST_BYTES]
    if len(body) < _WORD.size:
        return Word()
    num_samples, bias, flags, num_links, num_edges = _WORD.unpack_from(body)
    edges_at = _WORD.size + num_links * _LINK.size
    account_at = edges_at + num_edges * _EDGE.size
    try:
        account = _read_account(body[account_at:], flags)
    except (struct.error, ValueError):
        return Word()
    if not math.isfinite(bias) or len(body) < account_at:
        return Word()
    links = {
        peer: max(seconds, _LEAST_SECONDS)
        for peer, seconds in _LINK.iter_unpack(body[_WORD.size : edges_at])
        if math.isfinite(seconds)
    }
    plan = tuple(_EDGE.iter_unpack(body[edges_at:account_at]))
    return Word(num_samples, bias, bool(flags & _HAS_MOVED), links, plan, *account)


def _read_account(body: bytes, flags: int) -> tuple[float | None, tuple[tuple[int, int], ...]]:
    """Mass and losses, as far as they should be there. Raises ``ValueError`` or ``struct.error`` for what is something else."""
    mass, lost = None, b""
    if flags & _HAS_MASS:
        (mass,), body = _MASS.unpack_from(body), body[_MASS.size :]
        if not 0 < mass < _MOST:
            raise ValueError("a state counts something, and not beyond measure")
    if flags & _HAS_LOST:
        (count,) = _COUNT.unpack_from(body)
        end = _COUNT.size + count * _LOSS.size
        lost, body = body[_COUNT.size : end], body[end:]
        if len(lost) != count * _LOSS.size:
            raise ValueError("losses are missing")
    if body:
        raise ValueError("there are bytes behind the word")
    return mass, tuple(_LOSS.iter_unpack(lost))
