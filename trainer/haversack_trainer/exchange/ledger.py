"""The log as bytes: frames laid end to end, and the chain's hash after each. Pure.

The hub keeps one to answer from; every peer keeps one too, to check that its hub tells everybody the
same story and to refill a hub that lost its disk.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.records import Record, chain, decode, genesis

HASH_BYTES: Final = 32


class Forked(ValueError):
    """The offered records do not lead to the hash that was announced for them."""


@dataclass(frozen=True, slots=True)
class Tail:
    """A stretch of the log."""

    frames: bytes
    next: int
    """Position after the last frame."""
    head: bytes
    """The chain's hash at ``next``."""


class Ledger:
    """Append-only; compact, since a run may have a million records of 17 bytes. It may forget its oldest ones."""

    def __init__(self, run: str) -> None:
        self._frames = bytearray()
        self._ends = array("Q", [0])
        """Where frames end, counted from the log's first byte."""
        self._heads = bytearray(genesis(run))
        self.floor = 0
        """Position of the oldest record that it has."""

    def __len__(self) -> int:
        return self.floor + len(self._ends) - 1

    @property
    def num_bytes(self) -> int:
        """Of all records, forgotten ones included."""
        return int(self._ends[-1])

    @property
    def head(self) -> bytes:
        """The chain's hash after the last record."""
        return self.head_at(len(self))

    def head_at(self, position: int) -> bytes:
        """The chain's hash after ``position`` records, at least ``floor``."""
        at = (position - self.floor) * HASH_BYTES
        return bytes(self._heads[at : at + HASH_BYTES])

    def append(self, frame: bytes) -> None:
        """Add one sound frame."""
        self._heads += chain(self.head, frame)
        self._frames += frame
        self._ends.append(self._ends[-1] + len(frame))

    def forget(self, position: int) -> None:
        """Keep nothing of the records before ``position``."""
        count = position - self.floor
        if count <= 0:
            return
        del self._frames[: self._ends[count] - self._ends[0]]
        del self._heads[: count * HASH_BYTES]
        del self._ends[:count]
        self.floor = position

    def read(self, start: int, end: int | None = None, max_bytes: int | None = None) -> Tail:
        """Records ``start`` (at least ``floor``) to ``end``; at most ``max_bytes`` of them, but at least one if
        there is one."""
        end = len(self) if end is None else end
        first = self._end_of(start)
        if max_bytes is not None:
            while end > start + 1 and self._end_of(end) - first > max_bytes:
                end = start + max(1, (end - start) // 2)
        base = self._ends[0]
        return Tail(
            bytes(self._frames[first - base : self._end_of(end) - base]), end, self.head_at(end)
        )

    def _end_of(self, position: int) -> int:
        return int(self._ends[position - self.floor])

    def follow(self, frames: bytes, head: bytes) -> list[Record]:
        """Extend by what a hub sent, all or nothing.

        Raises ``CorruptRecord`` for unsound frames and ``Forked`` if they do not lead to ``head``.
        """
        records, pieces, at, hash_ = list(decode(frames)), [], 0, self.head
        for record in records:
            piece = frames[at : at + record.num_bytes]
            hash_ = chain(hash_, piece)
            pieces.append(piece)
            at += record.num_bytes
        if hash_ != head:
            raise Forked(
                f"the {len(records)} records after position {len(self)} do not lead to the hash announced for them"
            )
        for piece in pieces:
            self.append(piece)
        return records
