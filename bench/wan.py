"""An emulated wide-area link: a relay on the loopback with a rate each way and a delay.

One relay is one node's way to the hub: all its connections share one token bucket up and one down, as they
would share a line. Bytes wait for their tokens, then for the delay. No loss: TCP would hide it anyway, as delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Final

CHUNK_BYTES: Final = 16 * 1024
BURST_SECONDS: Final = 0.005
"""A bucket holds what the line carries in this time: less than a blob takes, more than a timer is off."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a line can do, each way."""

    megabits_per_second: float
    one_way_ms: float = 10.0

    @property
    def bytes_per_second(self) -> float:
        return self.megabits_per_second * 1e6 / 8


@dataclass
class Bucket:
    """Lets bytes through at a rate, in the order in which they come."""

    bytes_per_second: float
    num_bytes: int = 0
    _free_at: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, count: int) -> None:
        """Returns when the line has carried ``count`` more bytes."""
        async with self._turn:
            clock = asyncio.get_running_loop().time
            self._free_at = max(self._free_at, clock() - BURST_SECONDS)
            self._free_at += count / self.bytes_per_second
            self.num_bytes += count
            if (wait := self._free_at - clock()) > 0:
                await asyncio.sleep(wait)


class Relay:
    """A port on the loopback that leads to another one over a ``Link``."""

    def __init__(self, link: Link, target_port: int) -> None:
        self.up, self.down = (Bucket(link.bytes_per_second) for _ in range(2))
        self._delay, self._target = link.one_way_ms / 1000, target_port
        self.port = 0

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ways = (
            self._one_way(reader, far_writer, self.up),
            self._one_way(far_reader, writer, self.down),
        )
        with suppress(asyncio.CancelledError):  # The bench is over.
            await asyncio.gather(*ways)

    async def _one_way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.create_task(_deliver(under_way, writer))
        clock = asyncio.get_running_loop().time
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                await bucket.take(len(data))
                under_way.put_nowait((clock() + self._delay, data))
        under_way.put_nowait((0.0, b""))
        await delivery


async def _deliver(
    under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    clock = asyncio.get_running_loop().time
    with suppress(ConnectionError):
        while (arrival := await under_way.get())[1]:
            await asyncio.sleep(arrival[0] - clock())
            writer.write(arrival[1])
            await writer.drain()
    writer.close()


@contextmanager
def relays(link: Link, target_port: int, num_nodes: int) -> Iterator[list[Relay]]:
    """A relay per node, served by one thread of their own."""
    made = [Relay(link, target_port) for _ in range(num_nodes)]
    started: Future[Callable[[], object]] = Future()

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        for relay in made:
            await relay.open()
        started.set_result(lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()

    thread = Thread(target=lambda: asyncio.run(serve()), name="wan", daemon=True)
    thread.start()
    stop = started.result()
    try:
        yield made
    finally:
        stop()
        thread.join()
