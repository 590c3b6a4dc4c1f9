"""Whole exchanges over a real hub: rounds, blobs, eviction, restart, lost disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_certificates import Authority
from hub_harness import HubThread, a_join
from swapping import swap

from haversack_trainer.contract.records import Kind
from haversack_trainer.contract.report import PeerReport
from haversack_trainer.exchange.base import Evicted, ExchangeError, Outgoing, Refused, Stopped, Swap
from haversack_trainer.exchange.http import HttpExchange


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path, authority=Authority(tmp_path / "tls")) as hub:
        yield hub


def never() -> bool:
    return False


def swap_all(exchanges: list[HttpExchange], round: int, **parts: bytes) -> list[Swap]:
    def one(exchange: HttpExchange) -> Swap:
        body = bytes([exchange.me])
        blob = parts.get("blob", b"") + body
        return swap(exchange, round, Outgoing(body, aux=-1, blob=blob), never)

    with ThreadPoolExecutor(len(exchanges)) as pool:
        return list(pool.map(one, exchanges))


def test_every_peer_sees_the_same_round_and_everybodys_blob(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1, 2)
    swaps = swap_all(exchanges, 0, blob=b"x" * 100_000)
    assert len({swap.closed for swap in swaps}) == 1
    assert swaps[0].closed.members == (0, 1, 2)
    assert [swaps[1].fetch(peer)[-1] for peer in (0, 1, 2)] == [0, 1, 2]
    assert exchanges[0].bytes_sent > 100_000
    assert exchanges[1].bytes_received > 200_000


def test_a_late_joiner_replays_the_log_and_enters_at_the_next_round(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1)
    swap_all(exchanges, 0)
    late = hub.exchange(2)
    late.join(a_join("late"))
    swap_all(exchanges, 1)
    assert late.wait_for(lambda state: 2 in state.view, never, 10)
    swaps = swap_all([*exchanges, late], 2)
    assert [closed.members for closed in late.state.closed] == [(0, 1), (0, 1), (0, 1, 2)]
    assert swaps[2].closed == swaps[0].closed


def test_a_peer_that_leaves_does_not_hold_up_the_round(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1, 2)
    exchanges[2].leave("asked to stop")
    swaps = swap_all(exchanges[:2], 0)
    assert swaps[0].closed.members == (0, 1)


def test_a_newer_process_of_a_peer_takes_its_place(hub: HubThread) -> None:
    _, second = hub.joined(0, 1)
    newer = hub.exchange(1)
    newer.join(a_join("second", attempt=1))
    with pytest.raises(Evicted, match="replaced by a newer process"):
        second.append(Kind.PAYLOAD, 0, b"x")
    with pytest.raises(Evicted):
        second.wait_for(lambda state: bool(state.closed), never, 10)
    second.join(a_join("third", attempt=2))
    assert second.wait_for(lambda s: s.joins[1].incarnation == "third", never, 10)


def test_another_identity_is_refused_by_the_field_s_name(hub: HubThread) -> None:
    hub.joined(0)
    with pytest.raises(Refused, match="peer 1 differs from this run in seed: it has 18"):
        hub.exchange(1).join(a_join(seed="18"))


def test_a_hub_that_restarts_goes_on_where_it_was(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1)
    swap_all(exchanges, 0)
    hub.stop()
    hub.start()
    swaps = swap_all(exchanges, 1)
    assert swaps[0].closed.members == (0, 1)
    assert hub.hub.core.book.state == exchanges[0].state


def test_a_peer_waits_for_a_hub_that_is_away_until_asked_to_stop(hub: HubThread) -> None:
    exchange = hub.joined(0)[0]
    hub.stop()
    looks = iter(range(1000))
    with pytest.raises(Stopped):
        swap(exchange, 0, Outgoing(b"x"), lambda: next(looks) > 3)


def test_peers_give_a_hub_that_lost_its_disk_everything_back(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1, 2)
    swaps = swap_all(exchanges, 0, blob=b"bulk")
    before = hub.hub.core.book.ledger.head
    length = len(hub.hub.core)
    hub.stop()
    hub.lose_disk()
    hub.start()
    swap_all(exchanges, 1)
    assert hub.hub.core.book.ledger.head_at(length) == before
    assert swaps[0].fetch(2) == b"bulk\x02"


def test_a_new_peer_cannot_start_over_while_the_log_is_being_brought_back(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1)
    swap_all(exchanges, 0)
    hub.stop()
    hub.lose_disk()
    hub.start()
    late = hub.exchange(2)
    late.join(a_join("late"))
    swap_all(exchanges, 1)
    assert late.wait_for(lambda state: 2 in state.view, never, 10)
    assert len(late.state.closed) == 2


@pytest.mark.parametrize(
    ("num_rejoins", "why"),
    [(20, "not the one that this peer has followed"), (0, "takes no refill")],
    ids=["longer", "shorter"],
)
def test_peers_refuse_a_hub_with_another_history(
    hub: HubThread, num_rejoins: int, why: str
) -> None:
    exchanges = hub.joined(0, 1)
    swap_all(exchanges, 0)
    with HubThread(hub.root / "other", hub.authority) as other:
        forger = other.exchange(2)
        forger.join(a_join("forger"))
        for name in map(str, range(num_rejoins)):
            forger.leave("to make the log longer")
            forger.join(a_join(name))
        other.stop()
        hub.stop()
        other.port = hub.port
        other.start()
        with pytest.raises(ExchangeError, match=why) as caught:
            exchanges[0].wait_for(lambda state: len(state.closed) > 1, never, 20)
        # Not the job's fault: a new process would find its way into this log.
        assert not isinstance(caught.value, Refused)


def test_reports_reach_everybody(hub: HubThread) -> None:
    first, second = hub.joined(0, 1)
    second.report(PeerReport(peer=1, loss=0.5))
    assert first.peer_reports()[1].loss == 0.5


def test_a_word_before_joining_does_not_make_a_new_hub_wait_for_a_log(hub: HubThread) -> None:
    exchange = hub.exchange(0)
    exchange.report(PeerReport(peer=0))
    exchange._stop = lambda: True  # asks once
    exchange.join(a_join())


def test_a_report_never_raises(hub: HubThread) -> None:
    exchange = hub.joined(0)[0]
    hub.stop()
    exchange.report(PeerReport(peer=0))
    assert exchange.peer_reports() == {}
    exchange.leave("the hub is gone")
