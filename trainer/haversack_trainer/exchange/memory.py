"""An exchange inside one process: peers are threads. Same rules as the hub's, no sockets, no clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition
from typing import Final

from haversack_trainer.contract.membership import Join
from haversack_trainer.contract.records import HUB, CorruptRecord, Kind, Record, decode
from haversack_trainer.contract.report import PeerReport

from .admission import LEASE_EXPIRED, Book
from .base import Evicted, ExchangeError, Gone, Outgoing, Stop, Stopped, Swap
from .ledger import Tail
from .log import ClosedRound, RunState
from .payload import blob_digest, body_of
from .timing import Timing

_LOOK_SECONDS: Final = 0.02
"""How often a wait looks at ``stop``."""


@dataclass
class MemoryLog:
    """What the hub would keep, shared by the threads of one process."""

    run: str = "run"
    needs_approval: bool = False
    changed: Condition = field(default_factory=Condition)
    book: Book = field(init=False)
    blobs: dict[str, bytes] = field(default_factory=dict)
    reports: dict[int, PeerReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = Book(self.run, self.needs_approval)

    def append(self, author: int, record: Record, incarnation: str) -> None:
        """As the hub would: check, then append. Raises ``Refused``, ``Stale``, ``Evicted``."""
        with self.changed:
            try:
                if self.book.check(author, record, incarnation) is None:
                    self.book.enter(record)
            except CorruptRecord as error:
                raise ExchangeError(str(error)) from error
            self.changed.notify_all()

    def expire(self, peer: int) -> None:
        """What happens to a peer that was killed: its lease runs out."""
        with self.changed:
            if self.book.state.is_member(peer):
                self.book.enter(Record(Kind.LEAVE, peer, 0, LEASE_EXPIRED.encode()))
            self.changed.notify_all()

    def close_round(self) -> None:
        """What happens to a round that waits too long: the deadline closes it."""
        with self.changed:
            self.book.enter(Record(Kind.DEADLINE, HUB, self.book.state.round))
            self.changed.notify_all()


class MemoryExchange:
    """One thread's door to a ``MemoryLog``. Implements ``Exchange``."""

    def __init__(self, log: MemoryLog, me: int) -> None:
        self.me = me
        self.state = RunState(needs_approval=log.needs_approval)
        self.timing = Timing()
        self._log = log
        self._incarnation = ""
        self._sent = 0
        self._received = 0

    def join(self, join: Join) -> None:
        self._incarnation = join.incarnation
        self.append(Kind.JOIN, 0, join.model_dump_json(by_alias=True).encode())

    def append(self, kind: Kind, round: int, body: bytes, aux: int = 0) -> None:
        record = Record(kind, self.me, round, body, aux)
        self._log.append(self.me, record, self._incarnation)
        self._sent += record.num_bytes
        with self._log.changed:
            self._absorb()

    def wait_for(
        self, ready: Callable[[RunState], bool], stop: Stop, timeout_seconds: float | None = None
    ) -> bool:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._log.changed:
            while True:
                self._absorb()
                if ready(self.state):
                    return True
                self._log.book.check_alive(self.me, self._incarnation)
                if stop():
                    raise Stopped("asked to stop")
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                self._log.changed.wait(_LOOK_SECONDS)

    def publish(self, round: int, outgoing: Outgoing, _stop: Stop, /) -> None:
        self.timing.begin()
        if outgoing.blob is not None:
            digest = hashlib.sha256(outgoing.blob).hexdigest()
            with self._log.changed:
                self._log.blobs[digest] = outgoing.blob
            self._sent += len(outgoing.blob)
        self.append(Kind.PAYLOAD, round, body_of(outgoing), outgoing.aux)

    def collect(self, round: int, stop: Stop) -> Swap:
        with self.timing.waiting():
            self.wait_for(lambda state: state.closed_round(round) is not None, stop)
        self.timing.heard()
        self.timing.collected()
        closed = self.state.closed_round(round)
        if closed is None or not closed.concerns(self.me):
            raise Evicted(f"round {round} closed without peer {self.me}: it must join again")
        return Swap(
            closed,
            self.me,
            lambda peer: self.fetch(closed, peer),
            lambda: self.timing.exchange_seconds,
        )

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        digest = blob_digest(closed, peer)
        with self._log.changed:
            blob = self._log.blobs.get(digest)
        if blob is None:
            raise Gone(f"the blob of peer {peer} for round {closed.round} is gone")
        self._received += len(blob)
        return blob

    def report(self, report: PeerReport) -> None:
        self._log.reports[self.me] = report

    def peer_reports(self) -> Mapping[int, PeerReport]:
        return dict(self._log.reports)

    def leave(self, reason: str) -> None:
        with suppress(ExchangeError):
            self.append(Kind.LEAVE, self.state.round, reason.encode())

    def close(self) -> None:
        """Nothing to free: the log belongs to all."""

    def tail(self, start: int, end: int) -> Tail:
        return self._log.book.ledger.read(start, end)

    @property
    def bytes_sent(self) -> int:
        return self._sent

    @property
    def head(self) -> bytes:
        return self._log.book.ledger.head_at(self.state.num_records)

    @property
    def bytes_received(self) -> int:
        return self._received

    def _absorb(self) -> None:
        tail = self._log.book.ledger.read(self.state.num_records)
        self._received += len(tail.frames)
        for record in decode(tail.frames):
            self.state.apply(record)
