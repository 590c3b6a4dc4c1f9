"""What a peer gives back to a hub that lost its disk: the log, its newest blobs, its records that nobody has read."""

from __future__ import annotations

import logging
from collections import OrderedDict
from http import HTTPStatus
from threading import Lock
from typing import Final

from haversack_trainer.contract.records import Record

from .base import Stale, Unbacked
from .ledger import Tail
from .wire import HEAD_HEADER, INCARNATION_HEADER, Line, LinkDown

_REFILL_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 15.0
_MAX_REFILLS: Final = 3
_KEPT_BLOBS: Final = 2
_logger: Final = logging.getLogger(__name__)


class Keepsakes:
    """A peer's own words and blobs, as far as a hub may still lose them. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._unseen: dict[Record, None] = {}
        """Own records that did not come by yet: a hub may confirm one and lose it before anybody read it."""

    def expect(self, record: Record) -> None:
        """An own record is about to be posted: post it again if the hub loses it, until it comes by."""
        with self._lock:
            self._unseen[record] = None

    def forgo(self, record: Record) -> None:
        """The record was not taken."""
        with self._lock:
            self._unseen.pop(record, None)

    def forget_unseen(self) -> None:
        """They were another process's of the peer."""
        with self._lock:
            self._unseen.clear()

    def saw(self, records: list[Record]) -> None:
        """These came by."""
        with self._lock:
            if self._unseen:
                for record in records:
                    self._unseen.pop(record, None)

    def keep(self, digest: str, blob: bytes) -> None:
        """Remember one of the peer's own blobs; only the newest ones are."""
        with self._lock:
            self._blobs[digest] = blob
            while len(self._blobs) > _KEPT_BLOBS:
                self._blobs.popitem(last=False)

    def kept(self, digest: str) -> bytes | None:
        with self._lock:
            return self._blobs.get(digest)

    def all(self) -> tuple[dict[str, bytes], list[Record]]:
        """Blobs by digest, and records."""
        with self._lock:
            return dict(self._blobs), list(self._unseen)


class Restorer:
    """Brings it all back, over the feed's line and in the feed's thread."""

    def __init__(self, line: Line, base: str) -> None:
        self._line, self._base = line, base
        self.num_refused = 0
        """Refills in a row that the hub refused."""

    def refill(self, incarnation: str, tail: Tail, known: str) -> int:
        """The whole log, to a hub that has ``known`` records of it; how many bytes that were.

        Raises ``LinkDown`` if it should be tried again, ``Stale`` if the hub goes on refusing it."""
        _logger.warning("the hub has %s records, this peer %d: giving them back", known, tail.next)
        headers = {INCARNATION_HEADER: incarnation, HEAD_HEADER: tail.head.hex()}
        answer = self._line.request(
            "POST", f"{self._base}/refill", tail.frames, headers, _REFILL_SECONDS
        )
        if answer.status == HTTPStatus.CONFLICT:
            if self.num_refused == _MAX_REFILLS:
                raise Stale(answer.sentence)
            # Somebody else may have brought the log back in between: the next poll will tell.
            self.num_refused += 1
            raise LinkDown(answer.sentence)
        answer.raise_for_status()
        return len(tail.frames)

    def put(self, incarnation: str, digest: str, blob: bytes) -> int:
        """One blob; how many bytes that were."""
        headers = {INCARNATION_HEADER: incarnation}
        path = f"{self._base}/blobs/{digest}"
        self._line.request("PUT", path, blob, headers, _REFILL_SECONDS).raise_for_status()
        return len(blob)

    def post(self, incarnation: str, record: Record) -> int:
        """One record; how many bytes the hub took of it. Raises ``LinkDown`` if all should be tried again."""
        headers, frame = {INCARNATION_HEADER: incarnation}, record.encode()
        answer = self._line.request("POST", f"{self._base}/log", frame, headers, _ANSWER_SECONDS)
        try:
            answer.raise_for_status()
        except Stale as error:
            # The run went on without it; whoever waits for it learns that from the log.
            _logger.info("%s", error)
            return 0
        except Unbacked as error:
            # It was lost once more: bring it again.
            raise LinkDown(str(error)) from error
        return len(frame)
