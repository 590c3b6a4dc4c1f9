"""One 16-byte record from each of N peers to all N, by mutual TLS: an SPSA round without the training.

The hub is a process of its own with its log synced to disk; all peers share a second process. A round
lasts from the first append to the moment when the last peer has read the last record. One peer checks
every frame and the hash chain, the others count, so that the peers' process does not become the limit.

A peer appends and reads by one request, as SPSA's do; beside it, in turns, by a request for each, as it is
where a round has blobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self, TypeVar

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
"""Of one way, before it is the other's turn."""
TURNS: Final = 3
WAYS: Final = ("one_request", "two_requests")
P = TypeVar("P", bound="Peer")


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
            self.take(*await self.polls.request("GET", path, f"i{self.number}"))

    def take(self, headers: dict[str, str], frames: bytes) -> None:
        """Count what was read, or check it."""
        self.seen = int(headers[NEXT_HEADER.lower()])
        if self.ledger is not None:
            self.ledger.follow(frames, head_of(headers))

    async def two_requests(self, round: int, body: bytes, position: int) -> None:
        """Append while another request waits for the others."""
        read = asyncio.create_task(self.read_until(position))
        await self.append(Kind.PAYLOAD, round, body)
        await read

    async def one_request(self, round: int, body: bytes, position: int) -> None:
        """Append, and read in the same answer."""
        frame = Record(Kind.PAYLOAD, self.number, round, body).encode()
        path = f"/log?from={self.seen}&wait=25"
        self.take(*await self.writes.request("POST", path, f"i{self.number}", frame))
        await self.read_until(position)

    def close(self) -> None:
        self.polls.writer.close()
        self.writes.writer.close()


async def gather(root: Path, port: int, num_peers: int, kind: type[P]) -> list[P]:
    """Peers that have joined a run, and read that it started."""
    peers = [await kind.connect(root, port, number) for number in range(num_peers)]
    for peer in peers:
        await peer.append(Kind.JOIN, 0, a_join(peer.number))
    await peers[0].append(Kind.START, 0, Start().model_dump_json().encode())
    await asyncio.gather(*(peer.read_until(num_peers + 1) for peer in peers))
    return peers


async def time_round(peers: Sequence[Peer], round: int, way: str, body: bytes) -> float:
    """Milliseconds of a round that goes ``way``."""
    done = (round + 2) * len(peers) + 1
    begin = time.perf_counter()
    await asyncio.gather(*(getattr(peer, way)(round, body, done) for peer in peers))
    return 1000 * (time.perf_counter() - begin)


async def rounds(root: Path, hub: HubProcess, num_peers: int) -> dict[str, Any]:
    peers = await gather(root, hub.port, num_peers, Peer)
    milliseconds: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu = dict.fromkeys(WAYS, 0.0)
    number = 0
    for _ in range(TURNS):
        for way in WAYS:
            for at in range(WARM_UP + ROUNDS):
                if at == WARM_UP:
                    cpu[way] -= hub.cpu_seconds()
                took = await time_round(peers, number, way, bytes(16))
                number += 1
                if at >= WARM_UP:
                    milliseconds[way].append(took)
            cpu[way] += hub.cpu_seconds()
    for peer in peers:
        peer.close()
    one, two = (
        {
            "ms_per_round": spread(milliseconds[way], 1),
            "hub_cpu_ms_per_round": round(1000 * cpu[way] / (TURNS * ROUNDS), 1),
        }
        for way in WAYS
    )
    return {**one, "with_two_requests": two, "hub_peak_rss_mib": hub.peak_rss_mib()}


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
