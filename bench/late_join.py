"""Joining late: reading a log of 100,000 records from the hub by mutual TLS, and replaying it.

The log is that of 16 peers with 16-byte payloads, read back by the hub from its disk at start.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.figures import spread, write
from bench.hub_client import RUN, Wire, a_join, context_of, head_of, hub_process, pairs

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.ledger import Ledger
from haversack_trainer.exchange.log import RunState
from haversack_trainer.exchange.wire import NEXT_HEADER
from haversack_trainer.hub.journal import Journal

NUM_RECORDS: Final = 100_000
NUM_PEERS: Final = 16
REPEATS: Final = 5


def fill(folder: Path) -> None:
    journal = Journal(folder, RUN)
    for peer in range(NUM_PEERS):
        journal.append(Record(Kind.JOIN, peer, 0, a_join(peer)).encode())
    journal.append(Record(Kind.START, 0, 0, Start().model_dump_json().encode()).encode())
    for number in range(NUM_RECORDS - NUM_PEERS - 1):
        turn, peer = divmod(number, NUM_PEERS)
        journal.append(Record(Kind.PAYLOAD, peer, turn, bytes(16)).encode())
    journal.close()


async def join(root: Path, port: int) -> dict[str, Any]:
    """Seconds for the bytes, for checking frames and chain, and for replaying."""
    wire = await Wire.open(port, context_of(root, 0))
    begin = time.perf_counter()
    pieces, seen = [], 0
    while seen < NUM_RECORDS:
        headers, frames = await wire.request("GET", f"/log?from={seen}&wait=0", "i0")
        seen = int(headers[NEXT_HEADER.lower()])
        pieces.append((frames, head_of(headers)))
    read = time.perf_counter()
    ledger, records = Ledger(RUN), []
    for frames, head in pieces:
        records += ledger.follow(frames, head)
    checked = time.perf_counter()
    state = RunState()
    for record in records:
        state.apply(record)
    replayed = time.perf_counter()
    wire.writer.close()
    return {
        "get_seconds": read - begin,
        "check_seconds": checked - read,
        "replay_seconds": replayed - checked,
        "num_gets": len(pieces),
        "num_bytes": ledger.num_bytes,
        "rounds": state.round,
    }


def main() -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pairs(root, 1)
        fill(root / "data" / "log")
        with hub_process(root) as hub:
            runs = [asyncio.run(join(root, hub.port)) for _ in range(REPEATS)]
            rss = hub.peak_rss_mib()
    figures = {
        name: spread([run[name] for run in runs], 3)
        for name in ("get_seconds", "check_seconds", "replay_seconds")
    }
    same = {name: runs[0][name] for name in ("num_gets", "num_bytes", "rounds")}
    write("late_join", {"records": NUM_RECORDS, **same, **figures, "hub_peak_rss_mib": rss})


if __name__ == "__main__":
    main()
