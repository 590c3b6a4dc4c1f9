"""Follows the hub's log in a thread of its own, checks it, and keeps the peer's lease alive.

The thread only collects: records wait in an inbox until the peer's own thread takes them, so a
``RunState`` never changes behind its reader's back. A hub that is away is tried again for as long as it
takes; a hub that lost its disk gets the log, this peer's newest blobs and its unseen records back.

A peer that publishes without blobs needs nothing from the log while it computes. Then the thread is calm: it asks
when somebody waits, and otherwise only as often as the lease needs it. What the peer publishes goes out with the
request that waits for the others, so that a round is one request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Condition, Thread
from typing import Final

from haversack_trainer.contract.records import CorruptRecord, Record

from .backoff import Backoff
from .base import ExchangeError, Stale
from .ledger import Forked, Ledger, Tail
from .restoring import Keepsakes, Restorer
from .wire import (
    HEAD_HEADER,
    INCARNATION_HEADER,
    NEXT_HEADER,
    STORE_HEADER,
    Line,
    LinkDown,
    Reply,
)

POLL_SECONDS: Final = 25.0
_GRACE_SECONDS: Final = 15.0
"""How much longer than the poll itself an answer may take."""
_CALLS_PER_LEASE: Final = 4
"""And ten in the time of a poll: a hub that lost its disk has to hear of all before it goes on."""
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Errand:
    """A record that goes out with the next poll."""

    record: Record
    frame: bytes
    done: Future[None] = field(default_factory=Future)


class Feed:
    """The log as one peer has followed it. ``changed`` guards everything that two threads see."""

    def __init__(
        self,
        line: Line,
        run: str,
        poll_seconds: float = POLL_SECONDS,
        saw: Callable[[list[Record]], None] = lambda _: None,
    ) -> None:
        """``saw`` is told of records as they come in, in the feed's thread, under ``changed``."""
        self.changed = Condition()
        self.bytes_received = 0
        self.bytes_sent = 0
        self._line, self._base = line, f"/v1/runs/{run}"
        self._poll_seconds, self._saw = poll_seconds, saw
        self._ledger = Ledger(run)
        self._inbox: list[Record] = []
        self._failure: ExchangeError | None = None
        self._incarnation: str | None = None
        self.keepsakes = Keepsakes()
        self._restorer = Restorer(line, self._base)
        self._store = ""
        self._gives_back = False
        """The hub has another disk than before, and not yet all that this peer had put on the old one."""
        self._is_calm = False
        self._calm_seconds = 0.0
        self._asked = 0.0
        """When the last request was sent."""
        self._num_waiting = 0
        self._is_idle = False
        """No request is under way, and the next one can take an errand along."""
        self._errand: _Errand | None = None
        self._closed = False
        self._thread = Thread(target=self._follow, name="haversack-feed", daemon=True)

    def rest(self) -> None:
        """Forget an eviction and what the process before had to say; follow nothing until ``start``."""
        with self.changed:
            self._incarnation, self._failure, self._errand = None, None, None
            self._is_calm = False
            self.keepsakes.forget_unseen()

    def start(self, incarnation: str, lease_seconds: float = 0.0) -> None:
        """Follow as this process of the peer, also after an eviction. Without a known lease it is never calm."""
        with self.changed:
            self._incarnation = incarnation
            self._calm_seconds = min(lease_seconds / _CALLS_PER_LEASE, self._poll_seconds / 10)
            self.changed.notify_all()
        if not self._thread.is_alive():
            self._thread.start()

    def take(self) -> list[Record]:
        """Records that came since the last call. Hold ``changed``."""
        records, self._inbox = self._inbox, []
        if records:
            self.changed.notify_all()
        return records

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody wants to know what the log says next. Hold ``changed``."""
        self._num_waiting += 1
        self.changed.notify_all()
        try:
            yield
        finally:
            self._num_waiting -= 1

    def calm(self, *, is_calm: bool) -> None:
        """Whether the peer needs nothing of the log while it computes. Hold ``changed``."""
        self._is_calm = is_calm
        self.changed.notify_all()

    def carry(self, record: Record) -> Future[None] | None:
        """Take the record along with the next poll, and wait for the others with it. None if a poll is under
        way: then it is to be posted beside it. Raises ``CorruptRecord``. Hold ``changed``."""
        if not self._is_idle or self._errand is not None or self._gives_back:
            return None
        self._errand = _Errand(record, record.encode())
        self.keepsakes.expect(record)
        self.changed.notify_all()
        return self._errand.done

    def head_at(self, position: int) -> bytes:
        """Hash of the first ``position`` records."""
        return self._ledger.head_at(position)

    def tail(self, start: int, end: int) -> Tail:
        """Records ``start`` to ``end``. What lies before the thread's newest records never changes."""
        return self._ledger.read(start, end)

    def check(self) -> None:
        """Raises what ended the following, if anything did. Hold ``changed``."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread, breaking its poll."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._line.abort()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _GRACE_SECONDS)

    def _follow(self) -> None:
        backoff = Backoff()
        while incarnation := self._await_turn():
            try:
                self._poll(incarnation)
                if self._gives_back:
                    self._give_back(incarnation)
                backoff.reset()
            except LinkDown as error:
                _logger.debug("%s", error)
                with self.changed:
                    self.changed.wait_for(lambda: self._closed, backoff.next_seconds())
            except ExchangeError as error:
                self._fail(incarnation, error)
        self._line.close()

    def _await_turn(self) -> str | None:
        """The incarnation to ask as, once it is time to; None once closed."""
        with self.changed:
            while not (self._closed or self._is_time()):
                self._is_idle = self._may_follow()
                self.changed.wait(self._seconds_of_calm() if self._is_idle else None)
            self._is_idle = False
            return None if self._closed else self._incarnation

    def _may_follow(self) -> bool:
        return self._incarnation is not None and self._failure is None

    def _is_time(self) -> bool:
        if not self._may_follow():
            return False
        # Who waits and has not looked yet at what came in may find there what it waits for.
        is_asked = self._num_waiting > 0 and not self._inbox
        return bool(is_asked or self._errand or self._seconds_of_calm() <= 0)

    def _seconds_of_calm(self) -> float:
        if not self._is_calm or self._gives_back:
            return 0.0
        return self._asked + self._calm_seconds - time.monotonic()

    def _fail(self, incarnation: str, failure: ExchangeError) -> None:
        with self.changed:
            # A newer process of this peer may have been started while the answer was on its way.
            if incarnation == self._incarnation:
                self._failure = failure
                self.changed.notify_all()

    def _poll(self, incarnation: str) -> None:
        with self.changed:
            # An errand that is there already is under way again, after the line broke.
            errand = None if self._gives_back else self._errand
            is_asked = errand or self._num_waiting or not self._is_calm
            self._asked = time.monotonic()
        seconds = self._poll_seconds if is_asked and not self._gives_back else 0.0
        reply = self._line.request(
            "POST" if errand else "GET",
            f"{self._base}/log?from={len(self._ledger)}&wait={seconds:g}",
            errand.frame if errand else b"",
            {INCARNATION_HEADER: incarnation, HEAD_HEADER: self._ledger.head.hex()},
            seconds + _GRACE_SECONDS,
        )
        if reply.status == HTTPStatus.CONFLICT and NEXT_HEADER in reply.headers:
            self._refill(incarnation, reply)
            return
        if errand is not None:
            self._run_errand(errand, reply)
        elif reply.status == HTTPStatus.CONFLICT:
            raise self._estranged(reply.sentence)
        else:
            self._take_in(reply.raise_for_status())
        self._restorer.num_refused = 0
        store = reply.headers.get(STORE_HEADER, "")
        self._gives_back = self._gives_back or (bool(self._store) and store != self._store)
        self._store = store

    def _run_errand(self, errand: _Errand, reply: Reply) -> None:
        """Raises ``LinkDown`` if the hub is to be asked again; it takes a record once, however often it comes."""
        try:
            reply.raise_for_status()
        except LinkDown:
            raise
        except ExchangeError as error:
            # For who published. What it means for following the log is the next poll's to find out.
            self._finish(errand, error)
            return
        self._take_in(reply)
        self._finish(errand, None)

    def _finish(self, errand: _Errand, error: ExchangeError | None) -> None:
        with self.changed:
            if self._errand is errand:
                self._errand = None
            if error is None:
                self.bytes_sent += len(errand.frame)
                errand.done.set_result(None)
            else:
                self.keepsakes.forgo(errand.record)
                errand.done.set_exception(error)

    def _take_in(self, reply: Reply) -> None:
        try:
            head = bytes.fromhex(reply.headers.get(HEAD_HEADER, ""))
            records = self._ledger.follow(reply.body, head)
        except (CorruptRecord, Forked, ValueError) as error:
            raise self._estranged(str(error)) from error
        with self.changed:
            self.bytes_received += len(reply.body)
            self._inbox += records
            self._saw(records)
            self.keepsakes.saw(records)
            self.changed.notify_all()

    def _estranged(self, why: str) -> ExchangeError:
        return ExchangeError(
            f"the hub's log is not the one that this peer has followed for {len(self._ledger)} records: {why}"
        )

    def _refill(self, incarnation: str, reply: Reply) -> None:
        """The hub knows fewer records than this peer: it lost its disk."""
        known = reply.headers.get(NEXT_HEADER, "?")
        try:
            self._count_sent(self._restorer.refill(incarnation, self._ledger.read(0), known))
        except Stale as error:
            raise self._estranged(str(error)) from error

    def _give_back(self, incarnation: str) -> None:
        """To a hub that has another disk, after the log: own blobs, then own records nobody had read."""
        blobs, unseen = self.keepsakes.all()
        for digest, blob in blobs.items():
            self._count_sent(self._restorer.put(incarnation, digest, blob))
        for record in unseen:
            self._count_sent(self._restorer.post(incarnation, record))
        self._gives_back = False

    def _count_sent(self, num_bytes: int) -> None:
        with self.changed:
            self.bytes_sent += num_bytes
