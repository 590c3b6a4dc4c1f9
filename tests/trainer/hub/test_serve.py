"""The hub as a process: stops in order when asked, and comes back from a kill with all it confirmed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_certificates import HUB_NAME, Authority
from hub_harness import a_join, free_port, json_of
from swapping import swap

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.hub.journal import HubError
from haversack_trainer.hub.serve import HubSettings, serve

PROGRAM = """
import asyncio, sys
from pathlib import Path
from haversack_trainer.hub.serve import HubSettings, serve
run, folder, tls_dir, port = sys.argv[1:]
asyncio.run(serve(HubSettings(run, Path(folder), Path(tls_dir), "127.0.0.1", int(port))))
"""


def never() -> bool:
    return False


def hub_process(root: Path, authority: Authority, port: int) -> subprocess.Popen[bytes]:
    arguments = [authority.run, str(root / "hub"), str(authority.folder("hub")), str(port)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])


def test_a_killed_hub_has_all_that_it_confirmed_and_a_stopped_one_exits_with_0(
    tmp_path: Path,
) -> None:
    authority, port = Authority(tmp_path / "tls"), free_port()
    exchange = HttpExchange(
        f"https://127.0.0.1:{port}",
        hub_name=HUB_NAME,
        tls_dir=authority.folder("peer-3"),
        run=authority.run,
        me=3,
        poll_seconds=2.0,
    )
    hub = hub_process(tmp_path, authority, port)
    exchange.join(a_join())
    hub.kill()
    hub.wait()
    hub = hub_process(tmp_path, authority, port)
    exchange.join(a_join())
    assert exchange.wait_for(lambda state: state.view == (3,), never, 20)
    assert exchange.state.num_records == 1
    hub.send_signal(signal.SIGTERM)
    assert hub.wait(timeout=20) == 0
    exchange.close()


def test_a_payload_that_died_with_the_hub_s_disk_does_not_hold_up_its_round(
    tmp_path: Path,
) -> None:
    authority, port = Authority(tmp_path / "tls"), free_port()
    hub = hub_process(tmp_path, authority, port)
    peers = [
        HttpExchange(
            f"https://127.0.0.1:{port}",
            hub_name=HUB_NAME,
            tls_dir=authority.folder(f"peer-{peer}"),
            run=authority.run,
            me=peer,
            poll_seconds=2.0,
        )
        for peer in (0, 1)
    ]
    for peer in peers:
        peer.join(a_join(f"i{peer.me}"))
    peers[0].append(Kind.START, 0, json_of(Start()))
    for peer in peers:
        assert peer.wait_for(lambda state: state.start is not None, never, 20)
    before = peers[0].bytes_sent
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(swap, peers[0], 0, Outgoing(b"a"))
        # Confirmed; it will be half a second before anybody reads it.
        while peers[0].bytes_sent == before:
            assert not first.done()
        hub.kill()
        hub.wait()
        shutil.rmtree(tmp_path / "hub")
        hub = hub_process(tmp_path, authority, port)
        second = pool.submit(swap, peers[1], 0, Outgoing(b"b"))
        assert second.result(timeout=40).closed == first.result(timeout=40).closed
    for peer in peers:
        peer.close()
    hub.terminate()
    hub.wait()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        settings = HubSettings(
            authority.run, tmp_path / "hub", authority.folder("hub"), "127.0.0.1", port
        )
        with pytest.raises(HubError, match=f"cannot listen on 127.0.0.1:{port}"):
            asyncio.run(serve(settings))


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    settings = HubSettings("run", tmp_path / "hub", tmp_path / "nothing", "127.0.0.1", 0)
    with pytest.raises(HubError, match=r"must hold a readable ca\.crt, tls\.crt and tls\.key"):
        asyncio.run(serve(settings))
