"""The exchange between threads: same rules as the hub's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hub_harness import a_join, json_of
from swapping import swap

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.contract.report import PeerReport
from haversack_trainer.exchange.base import (
    Evicted,
    Exchange,
    ExchangeError,
    Outgoing,
    Refused,
    Stopped,
    Superseded,
    Swap,
)
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog


def never() -> bool:
    return False


def joined(log: MemoryLog, *peers: int) -> list[MemoryExchange]:
    exchanges = [MemoryExchange(log, peer) for peer in peers]
    for exchange in exchanges:
        exchange.join(a_join(f"i{exchange.me}"))
    exchanges[0].append(Kind.START, 0, json_of(Start()))
    return exchanges


def swap_all(exchanges: list[MemoryExchange], round: int) -> list[Swap]:
    def one(exchange: Exchange) -> Swap:
        body = bytes([exchange.me])
        return swap(exchange, round, Outgoing(body, blob=body * 100), never)

    with ThreadPoolExecutor(len(exchanges)) as pool:
        return list(pool.map(one, exchanges))


def test_threads_agree_on_every_round() -> None:
    log = MemoryLog()
    exchanges = joined(log, 0, 1, 2)
    for number in range(5):
        swaps = swap_all(exchanges, number)
        assert len({swap.closed for swap in swaps}) == 1
        assert swaps[0].fetch(2) == b"\x02" * 100
    assert exchanges[0].state.closed == log.book.state.closed
    assert exchanges[0].bytes_sent > 500


def test_a_killed_peer_s_lease_expires_and_the_others_go_on() -> None:
    log = MemoryLog()
    exchanges = joined(log, 0, 1, 2)
    log.expire(1)
    assert swap_all([exchanges[0], exchanges[2]], 0)[0].closed.members == (0, 2)
    with pytest.raises(Evicted):
        swap(exchanges[1], 0, Outgoing(b"x"), never)
    exchanges[1].join(a_join("again"))
    swap_all([exchanges[0], exchanges[2]], 1)
    assert exchanges[1].wait_for(lambda state: 1 in state.view, never, 5)


def test_a_round_without_a_blob_has_nothing_to_fetch() -> None:
    (exchange,) = joined(MemoryLog(), 0)
    swapped = swap(exchange, 0, Outgoing(b"x"), never)
    with pytest.raises(ExchangeError, match="published no blob"):
        swapped.fetch(0)
    with pytest.raises(ExchangeError, match="no member"):
        swapped.fetch(3)


def test_waits_end_by_stop_and_by_time() -> None:
    (exchange,) = joined(MemoryLog(), 0)
    assert not exchange.wait_for(lambda state: state.round > 0, never, 0.05)
    with pytest.raises(Stopped):
        exchange.wait_for(lambda state: state.round > 0, lambda: True)


def test_a_leave_frees_the_others_and_a_second_one_is_harmless() -> None:
    log = MemoryLog()
    exchanges = joined(log, 0, 1)
    exchanges[1].leave("done")
    exchanges[1].leave("done")
    assert swap_all(exchanges[:1], 0)[0].closed.members == (0,)


def test_another_identity_is_refused_by_the_field_s_name() -> None:
    log = MemoryLog()
    joined(log, 0)
    with pytest.raises(Refused, match="in base model: it has other"):
        MemoryExchange(log, 1).join(a_join(base_model="other"))


def test_an_older_attempt_does_not_push_out_a_newer_one() -> None:
    log = MemoryLog()
    MemoryExchange(log, 0).join(a_join("new", attempt=2))
    with pytest.raises(Superseded, match="newer process in this run"):
        MemoryExchange(log, 0).join(a_join("old", attempt=1))


def test_reports_are_shared() -> None:
    log = MemoryLog()
    first, second = joined(log, 0, 1)
    first.report(PeerReport(peer=0, loss=1.5))
    assert second.peer_reports()[0].loss == 1.5
