"""A peer's round over the hub is one request, whatever becomes of the request."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from core_line import CoreLine
from hub_harness import a_join, json_of

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.base import Evicted, Stale
from haversack_trainer.exchange.feed import Feed

LEASE_SECONDS = 3600.0
POLL_SECONDS = 600.0


@contextmanager
def calm_feed(line: CoreLine, lease_seconds: float = LEASE_SECONDS) -> Iterator[Feed]:
    """Of peer 0 alone in a started run, all of which it has read."""
    line.append(Kind.JOIN, 0, json_of(a_join("i0")))
    line.append(Kind.START, 0, json_of(Start()))
    feed = Feed(line, "run", poll_seconds=POLL_SECONDS)
    feed.start("i0", lease_seconds)
    with feed.changed:
        assert feed.changed.wait_for(lambda: len(feed._ledger) == 2, 10)
        feed.take()
        feed.calm(is_calm=True)
        await_calm(feed)
    yield feed
    feed.close()


def await_calm(feed: Feed) -> None:
    """Until the feed has nothing under way."""
    while not feed._is_idle:
        feed.changed.wait(0.001)


def carry(feed: Feed, round: int, body: bytes = b"x") -> Future[None]:
    """Hand a payload over."""
    with feed.changed:
        await_calm(feed)
        done = feed.carry(Record(Kind.PAYLOAD, 0, round, body))
    assert done is not None
    return done


def state_of(line: CoreLine) -> tuple[int, int]:
    """Records, and closed rounds."""
    return len(line.core), line.core.book.state.round


def test_each_round_is_one_request() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        carry(feed, 0).result(10)
        line.requests.clear()
        for number in range(1, 6):
            carry(feed, number).result(10)
            with feed.changed, feed.waiting():
                assert [record.round for record in feed.take()][-1] == number
    # On a busy machine, calls that keep the lease may fall between.
    assert [asked for asked in line.requests if asked != "GET 0"] == [f"POST {POLL_SECONDS:g}"] * 5
    assert state_of(line) == (2 + 6, 6)


def test_a_lost_answer_is_asked_for_again_and_the_record_is_there_once() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        line.num_lost_answers = 3
        carry(feed, 0).result(10)
        with feed.changed:
            assert [record.kind for record in feed.take()] == [Kind.PAYLOAD]
    assert state_of(line) == (3, 1)


def test_what_is_refused_is_told_to_who_published_and_the_feed_goes_on() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        with pytest.raises(Stale):
            carry(feed, 7).result(10)
        carry(feed, 0).result(10)
        with feed.changed:
            feed.check()
    assert state_of(line) == (3, 1)


def test_a_hub_that_lost_its_disk_gets_the_log_and_then_the_record() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        carry(feed, 0).result(10)
        line.lose_disk()
        carry(feed, 1).result(10)
    assert state_of(line) == (4, 2)


def test_an_evicted_peer_is_told_by_its_own_record_and_by_the_feed() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        line.append(Kind.LEAVE, 0, b"gone")
        with pytest.raises(Evicted):
            carry(feed, 0).result(10)
        with feed.changed, feed.waiting():
            assert feed.changed.wait_for(lambda: feed._failure is not None, 10)
            with pytest.raises(Evicted):
                feed.check()


def test_a_calm_feed_renews_its_lease_by_polls_that_do_not_wait() -> None:
    line = CoreLine()
    with calm_feed(line, lease_seconds=0.02) as feed, feed.changed:
        await_calm(feed)
        line.requests.clear()
        assert feed.changed.wait_for(lambda: len(line.requests) > 2, 10)
    assert set(line.requests) == {"GET 0"}


def test_who_waits_makes_a_calm_feed_ask() -> None:
    line = CoreLine()
    with calm_feed(line) as feed:
        carry(feed, 0).result(10)
        line.append(Kind.PAYLOAD, 1, b"of somebody else's making")
        with feed.changed, feed.waiting():
            feed.take()
            assert feed.changed.wait_for(lambda: len(feed._ledger) == 4, 10)


def test_a_record_is_not_taken_along_while_a_poll_is_under_way() -> None:
    feed = Feed(CoreLine(), "run")
    with feed.changed:
        assert feed.carry(Record(Kind.PAYLOAD, 0, 0, b"x")) is None


def test_a_new_process_of_the_peer_does_not_say_what_the_old_one_had_to() -> None:
    line = CoreLine()
    with calm_feed(line) as feed, feed.changed:
        feed.carry(Record(Kind.PAYLOAD, 0, 0, b"old"))
        feed.rest()
    assert state_of(line) == (2, 0)
