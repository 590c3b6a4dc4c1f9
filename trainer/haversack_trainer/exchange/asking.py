"""Requests to the hub that are tried until it answers."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

from haversack_trainer.contract.records import CorruptRecord, Record

from .backoff import Backoff
from .base import ExchangeError, Stop, Stopped
from .feed import Feed
from .wire import INCARNATION_HEADER, Line, LinkDown, Reply

LOOK_SECONDS: Final = 0.2
"""How often a wait looks at ``stop``."""
_ANSWER_SECONDS: Final = 30.0
"""Without a byte from the hub for so long, the connection counts as broken."""


class Asker:
    """One line to a run's hub. For one thread."""

    def __init__(self, line: Line, run: str, feed: Feed) -> None:
        self.incarnation = ""
        self.sent = 0
        """Bytes of records and blobs that the hub took."""
        self.received = 0
        self._line, self._base, self._feed = line, f"/v1/runs/{run}", feed

    def ask(self, method: str, path: str, body: bytes, stop: Stop) -> Reply:
        """One request, tried until the hub answers; at least once, even when asked to stop."""
        backoff = Backoff()
        while True:
            try:
                reply = self.request(method, path, body, _ANSWER_SECONDS)
                if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    reply.raise_for_status()
            except LinkDown:
                self.pause(backoff.next_seconds(), stop)
            else:
                return reply

    def request(self, method: str, path: str, body: bytes, timeout_seconds: float) -> Reply:
        """One request, tried once. Raises ``LinkDown``, ``Refused``."""
        headers = {INCARNATION_HEADER: self.incarnation}
        return self._line.request(method, self._base + path, body, headers, timeout_seconds)

    def post(self, record: Record, stop: Stop) -> Reply:
        """Append ``record``; the feed posts it again if the hub loses it unread."""
        try:
            frame = record.encode()
        except CorruptRecord as error:
            raise ExchangeError(str(error)) from error
        self._feed.keepsakes.expect(record)
        try:
            reply = self.ask("POST", "/log", frame, stop).raise_for_status()
        except ExchangeError:
            self._feed.keepsakes.forgo(record)
            raise
        self.sent += len(frame)
        return reply

    def pause(self, seconds: float, stop: Stop) -> None:
        """Wait, looking at ``stop`` and at what the feed has to say."""
        until = time.monotonic() + seconds
        while True:
            if stop():
                raise Stopped("asked to stop while the hub could not be reached")
            with self._feed.changed:
                self._feed.check()
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._feed.changed.wait(min(left, LOOK_SECONDS))

    def abort(self) -> None:
        """Break a request under way from another thread."""
        self._line.abort()

    def close(self) -> None:
        self._line.close()
