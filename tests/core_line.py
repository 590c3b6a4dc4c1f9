"""A line to a hub without a socket, which can lose its disk, its answers and its voice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http.client import HTTPMessage
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.base import Evicted, Stale
from haversack_trainer.exchange.wire import (
    HEAD_HEADER,
    INCARNATION_HEADER,
    NEXT_HEADER,
    STORE_HEADER,
    Line,
    LinkDown,
    Reply,
)
from haversack_trainer.hub.core import Behind, Core


class Shelf:
    starts = (0,)

    def append(self, frame: bytes) -> None:
        """Nothing is kept: the disk will be lost."""

    def segment(self, start: int) -> bytes:
        """Nothing is asked for that is not in memory."""
        raise AssertionError(start)


class CoreLine(Line):
    """While it is muted, polls learn nothing new."""

    def __init__(self) -> None:
        self.muted, self._lock = False, Lock()
        self.num_lost_answers = 0
        """So many of the next appends are done, and nobody is told."""
        self.requests: list[str] = []
        """Method and what was asked to wait for, of those that read the log."""
        self.lose_disk()

    def lose_disk(self) -> None:
        with self._lock:
            self.core = Core("run", Shelf(), rounds=1, lease_seconds=30, clock=time.monotonic)
            self.store = str(id(self.core))
            self.muted = False

    def append(self, kind: Kind, round: int, body: bytes, peer: int = 0) -> Record:
        record = Record(kind, peer, round, body)
        with self._lock:
            self.core.append(peer, record.encode(), f"i{peer}")
        return record

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Reply:
        time.sleep(0.002)
        with self._lock:
            if path.endswith("/refill"):
                self.core.refill(body, (headers or {})[HEAD_HEADER])
                return Reply(200, HTTPMessage(), b"")
            try:
                return self._log(method, path, body, (headers or {})[INCARNATION_HEADER])
            except Stale:
                return Reply(409, HTTPMessage(), b"")
            except Evicted:
                return Reply(410, HTTPMessage(), b"")

    def _log(self, method: str, path: str, body: bytes, incarnation: str) -> Reply:
        query = parse_qs(urlsplit(path).query)
        if "from" not in query:
            self.core.append(0, body, incarnation)
            return Reply(200, HTTPMessage(), b"")
        self.requests.append(f"{method} {query['wait'][0]}")
        start, headers = int(query["from"][0]), HTTPMessage()
        try:
            self.core.poll(0, incarnation, start, "")
        except Behind:
            headers[NEXT_HEADER] = "0"
            return Reply(409, headers, b"")
        if method == "POST":
            self.core.append(0, body, incarnation)
            if self.num_lost_answers:
                self.num_lost_answers -= 1
                raise LinkDown("the line broke")
        tail = self.core.read(start, start if self.muted else len(self.core))
        headers[HEAD_HEADER], headers[STORE_HEADER] = tail.head.hex(), self.store
        return Reply(200, headers, tail.frames)

    def abort(self) -> None:
        """No request takes long."""

    def close(self) -> None:
        """Nothing to free."""
