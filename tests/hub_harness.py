"""A real hub on a loopback port, in a thread of its own, that can be stopped, restarted and robbed."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

import uvloop
from hub_certificates import HUB_NAME, Authority

from haversack_trainer.contract.membership import Identity, Join, Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.exchange.carrier import Carrier
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.exchange.wire import Line, client_context
from haversack_trainer.hub.serve import HubSettings, RunningHub, running

IDENTITY = Identity(base_model="b", adapter="a", trainables="t", method="m", seed="17", data="d")


def a_join(incarnation: str = "first", attempt: int = 0, **changes: str) -> Join:
    return Join(
        identity=IDENTITY.model_copy(update=changes), incarnation=incarnation, attempt=attempt
    )


def json_of(join: Join | Start) -> bytes:
    return join.model_dump_json(by_alias=True).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class HubThread:
    """``with HubThread(tmp_path, authority=Authority(tmp_path / "tls")) as hub``: started; ``stop``, ``start`` and ``lose_disk`` in between."""

    root: Path
    authority: Authority
    lease_seconds: float = 30.0
    clock: Callable[[], float] | None = None
    port: int = field(default_factory=free_port)
    has_all_blobs: bool = False
    was_there: bool = False
    """Peers may hold a log that the next hub has to wait for."""
    hub: RunningHub = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def run(self) -> str:
        return self.authority.run

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        return self.root / "hub"

    def start(self) -> None:
        settings = HubSettings(
            run=self.run,
            folder=self.folder,
            tls_dir=self.authority.folder("hub"),
            host="127.0.0.1",
            port=self.port,
            rounds=5,
            lease_seconds=self.lease_seconds,
            awaits_log=self.was_there,
            has_all_blobs=self.has_all_blobs,
        )
        self._ready = Event()
        self._loop = uvloop.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = Thread(target=self._run, args=(settings,))
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self.was_there = True

    def end_round(self) -> None:
        """The open round is overdue: the hub closes it at its next look at the clock."""
        self.hub.core._due = (self.hub.core.book.state.round, 0.0)

    def lose_disk(self) -> None:
        shutil.rmtree(self.folder)

    def exchange(
        self, peer: int, *, port: int | None = None, carrier: Carrier | None = None
    ) -> HttpExchange:
        """A peer's exchange, not joined; closed with the harness."""
        exchange = HttpExchange(
            f"https://127.0.0.1:{port or self.port}",
            hub_name=HUB_NAME,
            tls_dir=self.authority.folder(f"peer-{peer}"),
            run=self.run,
            me=peer,
            poll_seconds=2.0,
            carrier=carrier,
        )
        self._stack.callback(exchange.close)
        return exchange

    def joined(
        self, *peers: int, carriers: Callable[[int], Carrier | None] = lambda _: None
    ) -> list[HttpExchange]:
        """Exchanges that have joined; the lowest has written START."""
        exchanges = [self.exchange(peer, carrier=carriers(peer)) for peer in peers]
        for exchange in exchanges:
            exchange.join(a_join(f"first-{exchange.me}"))
        exchanges[0].append(Kind.START, 0, json_of(Start()))
        for exchange in exchanges:
            assert exchange.wait_for(lambda s: s.start is not None, lambda: False, 10)
        return exchanges

    def line(self, name: str, organization: str | None = None) -> Line:
        """A bare connection with the certificate of ``name``."""
        folder = self.authority.folder(name, organization)
        line = Line(self.url, HUB_NAME, lambda: client_context(folder))
        self._stack.callback(line.close)
        return line

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if self._thread.is_alive():
            self.stop()

    def _run(self, settings: HubSettings) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(settings))

    async def _serve(self, settings: HubSettings) -> None:
        clock = {"clock": self.clock} if self.clock else {}
        async with running(settings, **clock) as self.hub:
            self._ready.set()
            await self._stopped.wait()
