"""Bulk moves while its peer computes, and fails where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from hub_certificates import Authority
from hub_harness import HubThread, a_join
from run_harness import wait_until
from swapping import swap

from haversack_trainer.exchange.base import Evicted, ExchangeError, Outgoing, Stopped
from haversack_trainer.exchange.http import HttpExchange


def never() -> bool:
    return False


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path, authority=Authority(tmp_path / "tls")) as hub:
        yield hub


def publish(exchange: HttpExchange, round: int, size: int = 1000, *, wants_all: bool) -> None:
    blob = bytes([exchange.me]) * size
    exchange.publish(round, Outgoing(blob=blob, wants_all=wants_all), never)


def fetched(exchange: HttpExchange, at_least: int) -> Callable[[], bool]:
    return lambda: exchange._bulk.bytes_received >= at_least


def test_blobs_of_slower_and_of_faster_members_are_here_before_they_are_asked_for(
    hub: HubThread,
) -> None:
    first, second, third = hub.joined(0, 1, 2)
    publish(third, 0, wants_all=True)
    assert second.wait_for(lambda state: state.has_published(2), never, 10)
    publish(second, 0, wants_all=True)
    publish(first, 0, wants_all=True)
    for exchange in (first, second, third):
        wait_until(fetched(exchange, 2000))
    hub.stop()
    swaps = [exchange.collect(0, never) for exchange in (first, second, third)]
    for swapped in swaps:
        assert [swapped.fetch(peer)[:1] for peer in (0, 1, 2)] == [b"\0", b"\1", b"\2"]
    hub.start()


def test_nothing_is_fetched_that_the_method_does_not_want(hub: HubThread) -> None:
    first, second = hub.joined(0, 1)
    publish(first, 0, wants_all=False)
    publish(second, 0, wants_all=False)
    swapped = first.collect(0, never)
    assert first._bulk.bytes_received == 0
    assert swapped.fetch(1) == b"\1" * 1000


def test_only_the_newest_round_is_kept(hub: HubThread) -> None:
    first, second = hub.joined(0, 1)
    for number in range(3):
        publish(first, number, wants_all=True)
        publish(second, number, wants_all=True)
        wait_until(fetched(first, 1000 * (number + 1)))
        first.collect(number, never)
        second.collect(number, never)
        assert len(first._bulk._coming) == 1


def test_a_member_that_left_meanwhile_is_not_waited_for(hub: HubThread) -> None:
    first, second, third = hub.joined(0, 1, 2)
    publish(third, 0, wants_all=True)
    wait_until(lambda: hub.hub.core.book.state.has_published(2))
    third.leave("unplugged")
    publish(first, 0, wants_all=True)
    publish(second, 0, wants_all=True)
    swapped = first.collect(0, never)
    assert swapped.closed.members == (0, 1)
    assert swapped.fetch(1) == b"\1" * 1000


def test_a_damaged_blob_is_refused_where_it_is_asked_for(hub: HubThread) -> None:
    first, second = hub.joined(0, 1)
    publish(second, 0, wants_all=False)
    wait_until(lambda: bool(hub.hub.core.book.state.open_payloads))
    (blob,) = (hub.folder / "blobs").iterdir()
    blob.write_bytes(b"something else")
    publish(first, 0, wants_all=True)
    swapped = first.collect(0, never)
    with pytest.raises(ExchangeError, match="the blob of peer 1 for round 0 is damaged"):
        swapped.fetch(1)


def test_what_became_of_a_blob_is_told_when_the_round_is_collected(hub: HubThread) -> None:
    first, second = hub.joined(0, 1)
    newer = hub.exchange(1)
    newer.join(a_join("second", attempt=1))
    with pytest.raises(Evicted, match="replaced by a newer process"):
        swap(second, 0, Outgoing(blob=b"late"))
    publish(first, 0, wants_all=True)
    assert first.collect(0, never).closed.members == (0,)


def test_a_hub_that_is_away_holds_up_nobody_until_the_round_is_collected(hub: HubThread) -> None:
    (exchange,) = hub.joined(0)
    hub.stop()
    publish(exchange, 0, wants_all=True)
    looks = iter(range(1000))
    with pytest.raises(Stopped):
        exchange.collect(0, lambda: next(looks) > 1)
    hub.start()


def test_a_peer_that_joins_again_has_given_up_what_it_was_sending(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    with HubThread(tmp_path, authority) as hub, FaultyProxy(hub.port) as proxy:
        stays, goes = hub.exchange(0), hub.exchange(1, port=proxy.port)
        goes.join(a_join("goes"))
        proxy.unplugged = True
        publish(goes, 0, wants_all=True)
        proxy.unplugged = False
        proxy.cut()
        goes.join(a_join("back"))
        stays.join(a_join("stays"))
        assert stays.wait_for(lambda state: 1 in state.view, never, 10)
