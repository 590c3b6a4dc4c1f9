"""Bad connections, many pollers, silent peers: a run goes on, or one peer leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest
from faulty_proxy import FaultyProxy
from hub_certificates import Authority
from hub_harness import HubThread, a_join, json_of
from swapping import swap
from waiting import wait_for

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import HEADER_BYTES, Kind
from haversack_trainer.exchange.base import Evicted, Outgoing
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.exchange.wire import INCARNATION_HEADER


def never() -> bool:
    return False


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path, Authority(tmp_path / "tls")) as hub:
        yield hub


@pytest.fixture
def proxy(hub: HubThread) -> Iterator[FaultyProxy]:
    with FaultyProxy(hub.port) as proxy:
        yield proxy


def started_through(hub: HubThread, proxy: FaultyProxy) -> HttpExchange:
    exchange = hub.exchange(0, port=proxy.port)
    exchange.join(a_join())
    exchange.append(Kind.START, 0, json_of(Start()))
    return exchange


@pytest.mark.parametrize("blob", [b"x" * 500, None], ids=["with blobs", "bodies only"])
def test_a_line_that_breaks_every_few_requests_loses_and_doubles_nothing(
    hub: HubThread, proxy: FaultyProxy, blob: bytes | None
) -> None:
    exchange = started_through(hub, proxy)
    proxy.cut_after_bytes = 6000 if blob else 4200
    for number in range(6):
        swapped = swap(exchange, number, Outgoing(bytes([number]), blob=blob))
        assert swapped.closed.payloads[0].body[:1] == bytes([number])
    assert len(hub.hub.core) == 2 + 6


def test_after_the_first_round_bodies_go_with_the_request_that_waits(hub: HubThread) -> None:
    exchanges = hub.joined(0, 1)
    beside = [exchange._asker.sent for exchange in exchanges]
    read = [exchange.bytes_received for exchange in exchanges]

    def rounds(exchange: HttpExchange) -> None:
        for number in range(8):
            swap(exchange, number, Outgoing(bytes([exchange.me])))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(rounds, exchanges))
    frame = HEADER_BYTES + 1
    for exchange, before, read_before in zip(exchanges, beside, read, strict=True):
        assert exchange.bytes_received == read_before + 8 * 2 * frame
        assert exchange._asker.sent + exchange._feed.bytes_sent == before + 8 * frame
        assert exchange._asker.sent <= before + frame
        assert exchange.state.round == 8


def test_a_slow_line_is_only_slow(hub: HubThread, proxy: FaultyProxy) -> None:
    proxy.delay_seconds = 0.02
    exchange = started_through(hub, proxy)
    assert swap(exchange, 0, Outgoing(b"x", blob=b"y" * 200_000)).fetch(0)[:1] == b"y"


def test_a_connection_that_is_cut_while_waiting_is_made_again(
    hub: HubThread, proxy: FaultyProxy
) -> None:
    exchange = started_through(hub, proxy)
    proxy.cut()
    assert swap(exchange, 0, Outgoing(b"x")).closed.members == (0,)


def test_an_unplugged_peer_leaves_and_comes_back_as_a_new_process(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    with (
        HubThread(tmp_path, authority, lease_seconds=1.5) as hub,
        FaultyProxy(hub.port) as proxy,
    ):
        stays = hub.exchange(0)
        stays.join(a_join("stays"))
        goes = hub.exchange(1, port=proxy.port)
        goes.join(a_join("goes"))
        stays.append(Kind.START, 0, json_of(Start()))
        proxy.unplugged = True
        swapped = swap(stays, 0, Outgoing(b"x"))
        assert swapped.closed.members == (0,)
        assert stays.state.history[-1].reason == "lease expired"
        proxy.unplugged = False
        proxy.cut()
        with pytest.raises(Evicted):
            goes.wait_for(lambda state: state.round > 5, never, 20)
        goes.join(a_join("back"))
        assert stays.wait_for(lambda state: 1 in state.pending, never, 10)


def test_sixty_four_pollers_see_every_round(hub: HubThread) -> None:
    num_peers, num_rounds = 64, 3
    exchanges = [hub.exchange(peer) for peer in range(num_peers)]
    with ThreadPoolExecutor(num_peers) as pool:
        list(pool.map(lambda exchange: exchange.join(a_join(f"i{exchange.me}")), exchanges))
    assert exchanges[0].wait_for(lambda state: len(state.view) == num_peers, never, 30)
    exchanges[0].append(Kind.START, 0, json_of(Start()))

    def rounds(exchange: HttpExchange) -> None:
        exchange.wait_for(lambda state: state.start is not None, never, 30)
        for number in range(num_rounds):
            swap(exchange, number, Outgoing(bytes([exchange.me])))

    threads = [Thread(target=rounds, args=(exchange,)) for exchange in exchanges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(exchange.state.closed == exchanges[0].state.closed for exchange in exchanges)
    assert [len(closed.members) for closed in exchanges[0].state.closed] == [num_peers] * num_rounds


def test_an_upload_that_breaks_off_is_no_fault_of_the_hub(
    hub: HubThread, caplog: pytest.LogCaptureFixture
) -> None:
    hub.joined(0)
    line, path = hub.line("peer-0"), f"/v1/runs/{hub.run}"
    me = {INCARNATION_HEADER: "first-0"}
    assert line.request("GET", f"{path}/progress", b"", me).status == 200
    connection = line._connection
    assert connection is not None
    connection.putrequest("PUT", f"{path}/blobs/{'0' * 64}")
    for name, value in {**me, "Content-Length": "100"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"half")
    wait_for(lambda: list(hub.folder.rglob("*.part")))
    line.abort()
    wait_for(lambda: not list(hub.folder.rglob("*.part")))
    assert hub.line("peer-0").request("GET", f"{path}/progress", b"", me).status == 200
    assert "Error handling request" not in caplog.text
