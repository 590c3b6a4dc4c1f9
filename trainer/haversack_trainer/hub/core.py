"""What the hub decides, without a socket or a clock of its own: appends, leases, refills, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from haversack_trainer.contract.records import (
    HUB,
    OPERATOR,
    CorruptRecord,
    Kind,
    Record,
    chain,
    decode,
)
from haversack_trainer.contract.report import MAX_COUNT, PeerReport, RunProgress
from haversack_trainer.exchange.admission import LEASE_EXPIRED, Book, Forged
from haversack_trainer.exchange.base import Stale
from haversack_trainer.exchange.ledger import Tail

from .needs import KEPT_ROUNDS, RECENT_ROUNDS, blobs_between, needed_blobs
from .past import Past, Storage

MAX_READ_BYTES: Final = 8 * 2**20
"""Of one answer to a read; a longer log is read in several."""
MAX_SHARED_BYTES: Final = 2**20


class Behind(Exception):
    """A peer has seen more of the log than this hub has: the hub lost its disk."""


class Settling(Exception):
    """The hub waits for peers to bring a lost log back and takes no records meanwhile."""


_SETTLING: Final = Settling("the hub waits for its log to be brought back; try again")


@dataclass(frozen=True, slots=True)
class Appended:
    position: int
    """Of the first record of the request."""
    next: int


class Core:
    """One run's log, leases and reports."""

    def __init__(
        self,
        run: str,
        storage: Storage,
        *,
        rounds: int,
        lease_seconds: float,
        clock: Callable[[], float],
        recovered: Iterable[Record] = (),
        incomplete: bool = False,
        needs_approval: bool = False,
        deadline_seconds: float | None = None,
        has_blob: Callable[[str], bool] | None = None,
    ) -> None:
        """``has_blob`` as in ``Book``; ``deadline_seconds``: a round is closed that long after its first payload. ``clock`` is monotonic; ``incomplete``: the disk may have lost records that peers still have."""
        self.book = Book(run, needs_approval, has_blob)
        self.lease_seconds = lease_seconds
        self.num_refused = 0
        self.wake_mark = 0
        """Position after the newest record that lets peers go on: all but payloads that leave a round open."""
        self._storage, self._rounds, self._clock = storage, rounds, clock
        self._past = Past(self.book.ledger, storage)
        self._leases: dict[int, float] = {}
        self._reports: dict[int, PeerReport] = {}
        self._sent_before: dict[int, int] = {}
        """Bytes that earlier processes of a peer sent."""
        self._tails: dict[int, Tail] = {}
        self._tails_end = 0
        self._deadline_seconds = deadline_seconds
        self._due: tuple[int, float] | None = None
        """The open round, if somebody has published for it, and when it is closed."""
        self._last_tick = clock()
        self._settle_until: float | None = None
        self._heard: set[int] = set()
        self._first_recent = 0
        """Older rounds' blobs were told by ``past_blobs``."""
        for record in recovered:
            self._enter(record)
        if incomplete:
            self._settle()

    def __len__(self) -> int:
        return len(self.book.ledger)

    def append(self, author: int, frames: bytes, incarnation: str) -> Appended:
        """Check and store records one by one; an error leaves those before it in the log.

        Raises ``CorruptRecord``, ``Refused``, ``Stale``, ``Unbacked``, ``Evicted``, ``Settling`` or what the storage raises.
        """
        records = list(decode(frames))
        if not records:
            raise CorruptRecord("an append needs at least one record")
        if records[0].kind is not Kind.JOIN and author != OPERATOR:
            self.check_alive(author, incarnation)
        elif self._is_settling():
            raise _SETTLING
        positions = [self._append(author, record, incarnation) for record in records]
        if author != OPERATOR:
            self._renew(author)
        return Appended(positions[0], len(self))

    def poll(self, author: int, incarnation: str, start: int, head: str) -> None:
        """A member that has followed the log to ``start`` and ``head`` asks on: renews its lease.

        Raises ``Behind``, ``Stale`` if it followed another log, ``Evicted``.
        """
        if start > len(self):
            if len(self) == 0:
                self._settle()
            raise Behind(f"this hub has {len(self)} records, not {start}")
        if head and head != self._past.head_at(start).hex():
            raise Stale(f"this hub's first {start} records are not those that you have")
        if author == OPERATOR:
            return
        self.book.check_alive(author, incarnation)
        self._heard.add(author)
        self._renew(author)

    def read(self, start: int, end: int) -> Tail:
        """Records from ``start`` on, about 8 MiB at most; one object for all who wait at the same place.

        Raises ``journal.NotStored``."""
        if start < self.book.ledger.floor:
            return self._past.read(start)
        if end != self._tails_end:
            self._tails, self._tails_end = {}, end
        if (tail := self._tails.get(start)) is None:
            tail = self.book.ledger.read(start, end, MAX_READ_BYTES)
            if len(tail.frames) <= MAX_SHARED_BYTES:
                self._tails[start] = tail
        return tail

    def refill(self, frames: bytes, head: str) -> None:
        """A peer brings the log back. Must continue what is here and lead to ``head``.

        Raises ``Stale``, ``CorruptRecord`` or what the storage raises.
        """
        self.check_settling()
        records = list(decode(frames))
        heads = list(
            accumulate((it.encode() for it in records), chain, initial=self._past.head_at(0))
        )
        common = min(len(self), len(records))
        if heads[-1].hex() != head or heads[common] != self._past.head_at(common):
            raise Stale("the refill is not a continuation of this run's log")
        for record in records[len(self) :]:
            self._store(record)

    def check_settling(self) -> None:
        """Raises ``Stale`` unless a refill is wanted."""
        if not self._is_settling():
            raise Stale("this hub has its log and takes no refill")

    def tick(self) -> int:
        """Expire leases and close overdue rounds; call it about every second. Returns how many peers were removed.

        Time in which the hub itself did not run is nobody's silence and is added to every lease and deadline.
        """
        now = self._clock()
        slept, self._last_tick = now - self._last_tick, now
        if slept > self.lease_seconds / 2:
            self._leases = {peer: due + slept for peer, due in self._leases.items()}
            self._due = (self._due[0], self._due[1] + slept) if self._due else None
        if self._is_settling():
            return 0
        members = (*self.book.state.view, *self.book.state.pending)
        silent = [peer for peer in members if self._leases.get(peer, now) <= now]
        for peer in silent:
            self._store(Record(Kind.LEAVE, peer, self.book.state.round, LEASE_EXPIRED.encode()))
        if self._due is not None and self._due[1] <= now:
            self._store(Record(Kind.DEADLINE, HUB, self._due[0]))
        return len(silent)

    def check_alive(self, author: int, incarnation: str) -> None:
        """Raises ``Settling``, or ``Evicted`` unless this process speaks for its peer."""
        if len(self) == 0:
            self._settle()
        if self._is_settling():
            raise _SETTLING
        self.book.check_alive(author, incarnation, member=False)

    def report(self, author: int, incarnation: str, report: PeerReport) -> None:
        """Keep a peer's newest word on itself. Raises ``Forged``, ``Evicted``."""
        if report.peer != author:
            raise Forged(f"peer {author} reported for peer {report.peer}")
        self.check_alive(author, incarnation)
        last = self._reports.get(author)
        if last is not None and report.bytes_sent < last.bytes_sent:
            # A new process of the peer counts from nothing.
            self._sent_before[author] = self._sent_before.get(author, 0) + last.bytes_sent
        self._reports[author] = report

    def progress(self) -> RunProgress:
        state = self.book.state
        return RunProgress(
            run=self.book.run,
            view=state.view,
            round=state.round,
            rounds=self.book.state.rounds(self._rounds),
            num_records=len(self),
            head=self.book.ledger.head.hex(),
            peers=tuple(self._whole(self._reports[peer]) for peer in sorted(self._reports)),
            evaluation=state.evaluation,
            checkpoint_round=state.checkpoint.round if state.checkpoint else None,
            verdict=state.verdict,
            scores=state.scores,
            approved_by=state.approved_by,
            published=state.publication,
            refused=self.num_refused,
        )

    def _whole(self, report: PeerReport) -> PeerReport:
        """With what earlier processes of the peer sent."""
        sent = report.bytes_sent + self._sent_before.get(report.peer, 0)
        return report.model_copy(update={"bytes_sent": min(sent, MAX_COUNT)})

    def needed_blobs(self) -> set[str]:
        """As ``needs.needed_blobs``."""
        return needed_blobs(self.book.state)

    def past_blobs(self) -> Iterator[str]:
        """Digests that older rounds referred to, of those that became so since the last call."""
        first, self._first_recent = self._first_recent, self.book.state.round - RECENT_ROUNDS
        return blobs_between(self.book.state, first, self._first_recent)

    def _append(self, author: int, record: Record, incarnation: str) -> int:
        known = self.book.check(author, record, incarnation)
        return self._store(record) if known is None else known

    def _store(self, record: Record) -> int:
        self._storage.append(record.encode())
        return self._enter(record)

    def _enter(self, record: Record) -> int:
        closed = len(self.book.state.closed)
        position = self.book.enter(record)
        self._past.entered()
        if record.kind is not Kind.PAYLOAD or len(self.book.state.closed) > closed:
            self.wake_mark = position + 1
        if record.kind is Kind.JOIN:
            self._renew(record.peer)
        if len(self.book.state.closed) > 2 * KEPT_ROUNDS:
            self.book.state.forget_rounds(KEPT_ROUNDS)
        self._watch_deadline()
        return position

    def _watch_deadline(self) -> None:
        """The open round's time begins with its first payload, and anew when it starts over or the hub restarts."""
        state = self.book.state
        if self._deadline_seconds is None or not state.is_under_way:
            self._due = None
        elif self._due is None or self._due[0] != state.round:
            self._due = (state.round, self._clock() + self._deadline_seconds)

    def _renew(self, peer: int) -> None:
        self._leases[peer] = self._clock() + self.lease_seconds

    def _settle(self) -> None:
        """Take no records until every member of the log was heard of, or for the time of a lease."""
        if self._settle_until is None:
            self._settle_until = self._clock() + self.lease_seconds
            self._heard = set()

    def _is_settling(self) -> bool:
        if self._settle_until is None:
            return False
        members = {*self.book.state.view, *self.book.state.pending}
        if self._clock() < self._settle_until and not (len(self) and members <= self._heard):
            return True
        self._settle_until = self._due = None
        self._watch_deadline()
        for peer in members:
            self._renew(peer)
        return False
