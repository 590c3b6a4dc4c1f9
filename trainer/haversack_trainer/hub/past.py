"""The part of the log that is on the disk only: the hub's memory holds its newest segments.

Of a sealed segment the hub remembers where it begins and the chain's hash there. Who asks from further back gets
what is left of that segment, so that a newcomer reads the log segment by segment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

from haversack_trainer.contract.records import chain, decode
from haversack_trainer.exchange.ledger import Ledger, Tail

NUM_SEGMENTS: Final = 2
"""In memory: the newest one, and so much before it that nobody who follows the log ever has to wait for the disk."""


class Storage(Protocol):
    """Where frames go before they count."""

    @property
    def starts(self) -> Sequence[int]:
        """Position of each segment's first record."""

    def append(self, frame: bytes) -> None:
        """Raises ``journal.NotStored``."""

    def segment(self, start: int) -> bytes:
        """All frames of the sealed segment that begins at ``start``. Raises ``journal.NotStored``."""


class Past:
    """Looks after a ledger, whose oldest records are forgotten as soon as the disk has sealed them."""

    def __init__(self, ledger: Ledger, storage: Storage) -> None:
        self._ledger, self._storage = ledger, storage
        self._heads = {0: ledger.head_at(0)}
        """The chain's hash before each segment."""

    def entered(self) -> None:
        """The ledger got a record that the storage has. Call it after every one."""
        position, starts = len(self._ledger) - 1, self._storage.starts
        number = bisect_right(starts, position) - 1
        if starts[number] != position:
            return
        self._heads[position] = self._ledger.head_at(position)
        if number + 1 > NUM_SEGMENTS:
            self._ledger.forget(starts[number + 1 - NUM_SEGMENTS])

    def read(self, start: int) -> Tail:
        """Records from ``start``, before the ledger's floor, to the end of their segment. Raises ``NotStored``."""
        first, end = self._around(start)
        frames = self._storage.segment(first)
        return Tail(frames[self._offset(frames, start - first) :], end, self._heads[end])

    def head_at(self, position: int) -> bytes:
        """The chain's hash after ``position`` records. Raises ``NotStored``."""
        if position >= self._ledger.floor:
            return self._ledger.head_at(position)
        if position in self._heads:
            return self._heads[position]
        first, _ = self._around(position)
        frames, at, head = self._storage.segment(first), 0, self._heads[first]
        for _, record in zip(range(position - first), decode(frames), strict=False):
            head = chain(head, frames[at : at + record.num_bytes])
            at += record.num_bytes
        return head

    def _around(self, position: int) -> tuple[int, int]:
        """Beginning and end of the segment that holds the record at ``position``."""
        number = bisect_right(self._storage.starts, position)
        return self._storage.starts[number - 1], self._storage.starts[number]

    @staticmethod
    def _offset(frames: bytes, num_records: int) -> int:
        pairs = zip(range(num_records), decode(frames), strict=False)
        return sum(record.num_bytes for _, record in pairs)
