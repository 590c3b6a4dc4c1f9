"""Follows the hub's log in a thread of its own, checks it, and keeps the peer's lease alive.

The thread only collects: records wait in an inbox until the peer's own thread takes them, so a
``RunState`` never changes behind its reader's back. A hub that is away is tried again for as long as it
takes; a hub that lost its disk gets the log, this peer's newest blobs and its unseen records back.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from threading import Condition, Thread
from typing import Final

from haversack_trainer.contract.records import CorruptRecord, Record

from .backoff import Backoff
from .base import ExchangeError, Stale
from .ledger import Forked, Ledger, Tail
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
_REFILL_SECONDS: Final = 300.0
_MAX_REFILLS: Final = 3
_KEPT_BLOBS: Final = 2
_logger: Final = logging.getLogger(__name__)


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
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._unseen: dict[Record, None] = {}
        """Own records that did not come by yet: a hub may confirm one and lose it before anybody read it."""
        self._store = ""
        self._gives_back = False
        """The hub has another disk than before, and not yet all that this peer had put on the old one."""
        self._num_refills = 0
        """Refills in a row that the hub refused."""
        self._closed = False
        self._thread = Thread(target=self._follow, name="haversack-feed", daemon=True)

    def rest(self) -> None:
        """Forget an eviction and what the process before had to say; follow nothing until ``start``."""
        with self.changed:
            self._incarnation, self._failure = None, None
            self._unseen.clear()

    def start(self, incarnation: str) -> None:
        """Follow as this process of the peer; also after an eviction."""
        with self.changed:
            self._incarnation = incarnation
            self.changed.notify_all()
        if not self._thread.is_alive():
            self._thread.start()

    def take(self) -> list[Record]:
        """Records that came since the last call. Hold ``changed``."""
        records, self._inbox = self._inbox, []
        return records

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

    def expect(self, record: Record) -> None:
        """An own record is about to be posted: post it again if the hub loses it, until it comes by."""
        with self.changed:
            self._unseen[record] = None

    def forgo(self, record: Record) -> None:
        """The record was not taken."""
        with self.changed:
            self._unseen.pop(record, None)

    def keep(self, digest: str, blob: bytes) -> None:
        """Remember one of the peer's own blobs, in case the hub loses it."""
        with self.changed:
            self._blobs[digest] = blob
            while len(self._blobs) > _KEPT_BLOBS:
                self._blobs.popitem(last=False)

    def kept(self, digest: str) -> bytes | None:
        with self.changed:
            return self._blobs.get(digest)

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
        """The incarnation to follow as; waits while there is none; None once closed."""
        with self.changed:
            self.changed.wait_for(
                lambda: self._closed or (self._incarnation is not None and self._failure is None)
            )
            return None if self._closed else self._incarnation

    def _fail(self, incarnation: str, failure: ExchangeError) -> None:
        with self.changed:
            # A newer process of this peer may have been started while the answer was on its way.
            if incarnation == self._incarnation:
                self._failure = failure
                self.changed.notify_all()

    def _poll(self, incarnation: str) -> None:
        seconds = 0.0 if self._gives_back else self._poll_seconds
        reply = self._line.request(
            "GET",
            f"{self._base}/log?from={len(self._ledger)}&wait={seconds:g}",
            headers={INCARNATION_HEADER: incarnation, HEAD_HEADER: self._ledger.head.hex()},
            timeout_seconds=seconds + _GRACE_SECONDS,
        )
        if reply.status == HTTPStatus.CONFLICT:
            if NEXT_HEADER not in reply.headers:
                raise self._estranged(reply.sentence)
            self._refill(incarnation, reply)
            return
        reply.raise_for_status()
        self._take_in(reply)
        self._num_refills = 0
        store = reply.headers.get(STORE_HEADER, "")
        self._gives_back = self._gives_back or (bool(self._store) and store != self._store)
        self._store = store

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
            if self._unseen:
                for record in records:
                    self._unseen.pop(record, None)
            self.changed.notify_all()

    def _estranged(self, why: str) -> ExchangeError:
        return ExchangeError(
            f"the hub's log is not the one that this peer has followed for {len(self._ledger)} records: {why}"
        )

    def _refill(self, incarnation: str, reply: Reply) -> None:
        """The hub knows fewer records than this peer: it lost its disk."""
        tail = self._ledger.read(0)
        _logger.warning(
            "the hub has %s records, this peer %d: giving them back",
            reply.headers.get(NEXT_HEADER, "?"),
            tail.next,
        )
        headers = {INCARNATION_HEADER: incarnation, HEAD_HEADER: tail.head.hex()}
        answer = self._line.request(
            "POST", f"{self._base}/refill", tail.frames, headers, _REFILL_SECONDS
        )
        if answer.status == HTTPStatus.CONFLICT:
            if self._num_refills == _MAX_REFILLS:
                raise self._estranged(answer.sentence)
            # Somebody else may have brought the log back in between: the next poll will tell.
            self._num_refills += 1
            raise LinkDown(answer.sentence)
        answer.raise_for_status()
        with self.changed:
            self.bytes_sent += len(tail.frames)

    def _give_back(self, incarnation: str) -> None:
        """To a hub that has another disk, after the log: own blobs, then own records nobody had read."""
        with self.changed:
            blobs, unseen = dict(self._blobs), list(self._unseen)
        headers = {INCARNATION_HEADER: incarnation}
        for digest, blob in blobs.items():
            path = f"{self._base}/blobs/{digest}"
            self._line.request("PUT", path, blob, headers, _REFILL_SECONDS).raise_for_status()
            with self.changed:
                self.bytes_sent += len(blob)
        for record in unseen:
            self._post_again(record, headers)
        self._gives_back = False

    def _post_again(self, record: Record, headers: dict[str, str]) -> None:
        frame = record.encode()
        answer = self._line.request("POST", f"{self._base}/log", frame, headers, _GRACE_SECONDS)
        try:
            answer.raise_for_status()
        except Stale as error:
            # The run went on without it; whoever waits for it learns that from the log.
            _logger.info("%s", error)
            return
        with self.changed:
            self.bytes_sent += len(frame)
