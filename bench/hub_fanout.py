"""One 16-byte record from each of N peers to all N, by mutual TLS: an SPSA round without the training.

The hub is a process of its own with its log synced to disk; all peers share a second process. A round
lasts from the first append to the moment when the last peer has read the last record. One peer checks
every frame and the hash chain, the others count, so that the peers' process does not become the limit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

from bench.figures import spread, write
from bench.hub_client import (
    RUN,
    HubProcess,
    Wire,
    a_join,
    context_of,
    head_of,
    hub_process,
    pairs,
)

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.ledger import Ledger
from haversack_trainer.exchange.wire import NEXT_HEADER

PEERS: Final = (16, 64, 256)
WARM_UP: Final = 2
ROUNDS: Final = 10


@dataclass
class Peer:
    """Two connections: one waits for records, one writes them."""

    number: int
    polls: Wire
    writes: Wire
    ledger: Ledger | None
    """Where every frame is checked; None for peers that only count."""
    seen: int = 0

    @classmethod
    async def connect(cls, root: Path, port: int, number: int) -> Self:
        context = context_of(root, number)
        polls, writes = await Wire.open(port, context), await Wire.open(port, context)
        return cls(number, polls, writes, None if number else Ledger(RUN))

    async def append(self, kind: Kind, round: int, body: bytes) -> None:
        frame = Record(kind, self.number, round, body).encode()
        await self.writes.request("POST", "/log", f"i{self.number}", frame)

    async def read_until(self, position: int) -> None:
        while self.seen < position:
            path = f"/log?from={self.seen}&wait=25"
            headers, frames = await self.polls.request("GET", path, f"i{self.number}")
            self.seen = int(headers[NEXT_HEADER.lower()])
            if self.ledger is not None:
                self.ledger.follow(frames, head_of(headers))

    async def swap(self, round: int, position: int) -> None:
        read = asyncio.create_task(self.read_until(position))
        await self.append(Kind.PAYLOAD, round, bytes(16))
        await read


async def rounds(root: Path, hub: HubProcess, num_peers: int) -> dict[str, Any]:
    peers = [await Peer.connect(root, hub.port, number) for number in range(num_peers)]
    for peer in peers:
        await peer.append(Kind.JOIN, 0, a_join(peer.number))
    await peers[0].append(Kind.START, 0, Start().model_dump_json().encode())
    done = num_peers + 1
    await asyncio.gather(*(peer.read_until(done) for peer in peers))
    milliseconds, cpu = [], 0.0
    for number in range(WARM_UP + ROUNDS):
        if number == WARM_UP:
            cpu = hub.cpu_seconds()
        done += num_peers
        begin = time.perf_counter()
        await asyncio.gather(*(peer.swap(number, done) for peer in peers))
        milliseconds.append(1000 * (time.perf_counter() - begin))
    figures = {
        "ms_per_round": spread(milliseconds[WARM_UP:], 1),
        "hub_cpu_seconds_10_rounds": round(hub.cpu_seconds() - cpu, 2),
        "hub_peak_rss_mib": hub.peak_rss_mib(),
    }
    for peer in peers:
        peer.polls.writer.close()
        peer.writes.writer.close()
    return figures


def main() -> None:
    figures = {}
    for num_peers in PEERS:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            pairs(root, num_peers)
            with hub_process(root) as hub:
                figures[f"{num_peers}_peers"] = asyncio.run(rounds(root, hub, num_peers))
    write("hub_fanout", figures)


if __name__ == "__main__":
    main()
