"""A hub that loses its disk gets back what one peer had read, and what nobody had."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http.client import HTTPMessage
from threading import Lock

import pytest
from checkpoint_cases import a_verdict
from hub_harness import a_join, json_of

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import CheckpointRef, Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.contract.report import Publication
from haversack_trainer.exchange.base import Stale
from haversack_trainer.exchange.feed import Feed
from haversack_trainer.exchange.wire import HEAD_HEADER, NEXT_HEADER, STORE_HEADER, Line, Reply
from haversack_trainer.hub.core import Behind, Core


class Shelf:
    def append(self, frame: bytes) -> None:
        """Nothing is kept: the disk will be lost."""


class CoreLine(Line):
    """A line to a hub without a socket. While it is muted, polls learn nothing new."""

    def __init__(self) -> None:
        self.muted, self._lock = False, Lock()
        self.lose_disk()

    def lose_disk(self) -> None:
        with self._lock:
            self.core = Core("run", Shelf(), rounds=1, lease_seconds=30, clock=time.monotonic)
            self.store = str(id(self.core))
            self.muted = False

    def append(self, kind: Kind, round: int, body: bytes) -> Record:
        record = Record(kind, 0, round, body)
        with self._lock:
            self.core.append(0, record.encode(), "i0")
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
            if method == "GET":
                return self._poll(int(path.partition("from=")[2].partition("&")[0]))
            if path.endswith("/refill"):
                self.core.refill(body, (headers or {})[HEAD_HEADER])
                return Reply(200, HTTPMessage(), b"")
            try:
                self.core.append(0, body, "i0")
            except Stale:
                return Reply(409, HTTPMessage(), b"")
            return Reply(200, HTTPMessage(), b"")

    def _poll(self, start: int) -> Reply:
        headers = HTTPMessage()
        try:
            self.core.poll(0, "i0", start, "")
        except Behind:
            headers[NEXT_HEADER] = "0"
            return Reply(409, headers, b"")
        tail = self.core.read(start, start if self.muted else len(self.core))
        headers[HEAD_HEADER], headers[STORE_HEADER] = tail.head.hex(), self.store
        return Reply(200, headers, tail.frames)

    def abort(self) -> None:
        """No request takes long."""

    def close(self) -> None:
        """Nothing to free."""


VERDICT = a_verdict(1)
FIGURES = VERDICT.after
STORY: list[tuple[Kind, Frozen | None]] = [
    (Kind.JOIN, a_join("i0")),
    (Kind.START, Start()),
    (Kind.PAYLOAD, None),
    (Kind.CHECKPOINT, CheckpointRef(round=1, key="k", digest="d")),
    (Kind.EVALUATION, FIGURES),
    (Kind.VERDICT, VERDICT),
    (Kind.PUBLISHED, Publication(uri="file:///a", digest="d", size_bytes=1, round=1)),
]


def follow(feed: Feed, num_records: int) -> None:
    with feed.changed:
        assert feed.changed.wait_for(lambda: len(feed._ledger) >= num_records, 10)


@pytest.mark.parametrize("lost", range(1, len(STORY)), ids=lambda at: STORY[at][0].name)
def test_a_record_that_was_confirmed_and_lost_unread_is_posted_again(lost: int) -> None:
    line = CoreLine()
    feed = Feed(line, "run")

    def tell(at: int) -> Record:
        kind, word = STORY[at]
        record = Record(kind, 0, 0, word.model_dump_json(by_alias=True).encode() if word else b"x")
        feed.expect(record)
        return line.append(kind, 0, record.body)

    for at in range(lost):
        tell(at)
    feed.start("i0")
    follow(feed, lost)
    line.muted = True
    record = tell(lost)
    line.lose_disk()
    follow(feed, lost + 1)
    feed.close()
    assert feed.take()[-1] == record
    assert line.core.book.state.num_records == lost + 1


def test_what_the_log_has_moved_past_is_not_insisted_on() -> None:
    line = CoreLine()
    feed = Feed(line, "run")
    line.append(Kind.JOIN, 0, json_of(a_join("i0")))
    line.append(Kind.START, 0, json_of(Start()))
    feed.start("i0")
    follow(feed, 2)
    feed.expect(Record(Kind.PAYLOAD, 0, 7, b"of another round"))
    line.lose_disk()
    follow(feed, 2)
    with feed.changed:
        assert feed.changed.wait_for(lambda: not feed._gives_back and len(line.core) == 2, 10)
        feed.check()
    feed.close()
