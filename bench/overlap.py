"""How much of an exchange is hidden behind compute on a narrow line, and how much without work ahead.

Two to four peers, each behind a line of its own of so many Mbit/s each way (a token bucket and a delay, in
front of a real hub with mutual TLS). Compute is a sleep: nothing here competes for the cores. A figure is the
median over rounds of the slowest peer.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from tempfile import TemporaryDirectory
from threading import Barrier, Thread
from typing import Any, Final

from bench.figures import write
from bench.hub_client import HUB_NAME, RUN, hub_process, pairs
from bench.memory_log import never, start

from haversack_trainer.exchange.base import Exchange, Outgoing
from haversack_trainer.exchange.http import HttpExchange

WARM_UP: Final = 1
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "8"))
DELAY_SECONDS: Final = 0.01
"""One way."""
PIECE_BYTES: Final = 16_384
CASES: Final = ((2, 100, 2_000_000), (4, 100, 1_000_000), (2, 10, 250_000))
"""Peers, Mbit/s of each peer's line, bytes of a blob."""


@dataclass
class NarrowLine:
    """Forwards to ``target`` on the loopback, each way at no more than ``mbit_per_second``."""

    target: int
    mbit_per_second: float
    _free_at: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "down": 0.0})

    @contextmanager
    def open(self) -> Iterator[int]:
        """The port to dial."""
        listener = socket.create_server(("127.0.0.1", 0))
        Thread(target=self._accept, args=(listener,), daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", self.target))
            for way, source, sink in (("up", inner, outer), ("down", outer, inner)):
                Thread(target=self._forward, args=(way, source, sink), daemon=True).start()

    def _forward(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        Thread(target=_arrive, args=(under_way, source, sink), daemon=True).start()
        with suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                # All connections of a peer share its line.
                begin = max(time.monotonic(), self._free_at[way])
                self._free_at[way] = begin + 8 * len(data) / (1e6 * self.mbit_per_second)
                under_way.put((self._free_at[way] + DELAY_SECONDS, data))
                time.sleep(max(0.0, self._free_at[way] - time.monotonic()))
        under_way.put((time.monotonic(), b""))


def _arrive(
    under_way: SimpleQueue[tuple[float, bytes]], source: socket.socket, sink: socket.socket
) -> None:
    with suppress(OSError):
        while True:
            due, data = under_way.get()
            if not data:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@dataclass
class PeerLoop:
    """One peer's rounds: compute, publish, compute ahead or not, collect, fetch all."""

    exchange: Exchange
    blob_bytes: int
    compute_seconds: float
    works_ahead: bool
    barrier: Barrier
    exchange_seconds: list[float] = field(default_factory=list)
    waited_seconds: list[float] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        self.barrier.wait()
        for number in range(WARM_UP + ROUNDS):
            begin = time.monotonic()
            if not self.works_ahead:
                time.sleep(self.compute_seconds)
            blob = os.urandom(self.blob_bytes)
            self.exchange.publish(number, Outgoing(blob=blob, wants_all=self.works_ahead), never)
            if self.works_ahead:
                time.sleep(self.compute_seconds)
            swap = self.exchange.collect(number, never)
            for peer in swap.closed.members:
                swap.fetch(peer)
            self.exchange_seconds.append(self.exchange.timing.exchange_seconds)
            self.waited_seconds.append(self.exchange.timing.waited_seconds)
            self.round_seconds.append(time.monotonic() - begin)


def measure(
    num_peers: int, mbit: float, blob_bytes: int, compute_seconds: float, *, works_ahead: bool
) -> dict[str, float]:
    """Medians of one setting."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        pairs(root, num_peers)
        hub = stack.enter_context(hub_process(root))
        barrier = Barrier(num_peers, timeout=60)

        def peer_loop(peer: int) -> PeerLoop:
            port = stack.enter_context(NarrowLine(hub.port, mbit).open())
            url, folder = f"https://127.0.0.1:{port}", root / f"peer-{peer}"
            exchange = HttpExchange(url, hub_name=HUB_NAME, tls_dir=folder, run=RUN, me=peer)
            stack.callback(exchange.close)
            return PeerLoop(exchange, blob_bytes, compute_seconds, works_ahead, barrier)

        loops = [peer_loop(peer) for peer in range(num_peers)]
        start([loop.exchange for loop in loops])
        with ThreadPoolExecutor(num_peers) as pool:
            for done in [pool.submit(loop.run) for loop in loops]:
                done.result()
    return figures_of(loops)


def figures_of(loops: list[PeerLoop]) -> dict[str, float]:
    def slowest(series: Callable[[PeerLoop], list[float]]) -> float:
        rounds = range(WARM_UP, WARM_UP + ROUNDS)
        return round(median(max(series(loop)[at] for loop in loops) for at in rounds), 4)

    exchange, waited = (
        slowest(lambda it: it.exchange_seconds),
        slowest(lambda it: it.waited_seconds),
    )
    return {
        "exchange_seconds": exchange,
        "waited_seconds": waited,
        "hidden": round(max(0.0, 1 - waited / exchange), 3),
        "round_seconds": slowest(lambda it: it.round_seconds),
    }


def main() -> None:
    figures: dict[str, Any] = {"delay_seconds": DELAY_SECONDS}
    for num_peers, mbit, blob_bytes in CASES:
        # Up once, down from all others: what the line must carry.
        line_seconds = 8 * blob_bytes * num_peers / (1e6 * mbit)
        for share in (0.5, 1.0, 1.5):
            compute = share * line_seconds
            name = f"{num_peers} peers, {mbit} Mbit/s, {blob_bytes} B, compute {compute:.2f} s"
            figures[name] = {
                "ahead": measure(num_peers, mbit, blob_bytes, compute, works_ahead=True),
                "in turn": measure(num_peers, mbit, blob_bytes, compute, works_ahead=False),
            }
    write("overlap", figures)


if __name__ == "__main__":
    main()
