"""SPSA's bytes and times: what a step costs on the socket, and what it takes to replay or join.

N machines with K = 8 directions each go through rounds over a real hub by mutual TLS. The log's bytes are compared
with the formula (16 + K a machine and step up, N times that down); what HTTP, TLS and TCP add is read from the
kernel's counters of each connection. Then logs of 4 machines are replayed to weights of several sizes, and
fetched, checked and replayed as a newcomer would. ``--small`` does a few of each.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from bench.figures import spread, write
from bench.hub_client import RUN, Wire, a_join, context_of, head_of, hub_process, pairs
from bench.hub_fanout import Peer, gather, time_round
from torch import nn

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import HEADER_BYTES, Kind, Record, decode
from haversack_trainer.exchange.ledger import Ledger
from haversack_trainer.exchange.log import RunState
from haversack_trainer.exchange.wire import NEXT_HEADER
from haversack_trainer.hub.journal import Journal
from haversack_trainer.methods.spsa.replica import Replica
from haversack_trainer.methods.spsa.settings import Settings

DIRECTIONS: Final = 8
STEP_BYTES: Final = HEADER_BYTES + DIRECTIONS
MACHINES: Final = (4, 16, 64, 256)
STEPS: Final = 20
REPLAYED: Final = {
    "cpu": ((1_000, 100_000), (100, 1_000_000), (100, 10_000_000)),
    "cuda": ((1_000, 1_000_000), (1_000, 10_000_000), (10_000, 1_000_000)),
}
"""(rounds, weights) by device."""
JOINED: Final = (1_000, 10_000)
LOG_MACHINES: Final = 4
_TCP_INFO_BYTES: Final = 136
_COUNTERS_AT: Final = 120
"""Of ``tcpi_bytes_acked`` and ``tcpi_bytes_received`` in Linux's ``struct tcp_info``."""


def on_the_wire(wire: Wire) -> tuple[int, int]:
    """Bytes that this connection has sent and received, TLS included, without TCP's own headers."""
    plain: socket.socket = wire.writer.get_extra_info("socket")
    info = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    acked, received = struct.unpack_from("<QQ", info, _COUNTERS_AT)
    return acked, received


@dataclass
class Machine(Peer):
    """A peer that counts what it reads of the log."""

    down: int = field(default=0)

    def take(self, headers: dict[str, str], frames: bytes) -> None:
        super().take(headers, frames)
        self.down += len(frames)

    def total(self) -> tuple[int, int]:
        (up, down), (more_up, more_down) = on_the_wire(self.polls), on_the_wire(self.writes)
        return up + more_up, down + more_down


async def steps(root: Path, port: int, num_machines: int, num_steps: int) -> dict[str, Any]:
    machines = await gather(root, port, num_machines, Machine)
    before, read = [machine.total() for machine in machines], [m.down for m in machines]
    milliseconds = [
        await time_round(machines, number, "one_request", bytes(DIRECTIONS))
        for number in range(num_steps)
    ]
    after = [machine.total() for machine in machines]
    for machine in machines:
        machine.close()
    count = num_machines * num_steps
    up = sum(end[0] - start[0] for start, end in zip(before, after, strict=True))
    down = sum(end[1] - start[1] for start, end in zip(before, after, strict=True))
    return {
        "log_bytes_down_per_machine_and_step": (sum(m.down for m in machines) - sum(read)) / count,
        "formula_down": num_machines * STEP_BYTES,
        "log_bytes_up_per_machine_and_step": STEP_BYTES,
        "formula_up": 16 + DIRECTIONS,
        "socket_bytes_up_per_machine_and_step": round(up / count, 1),
        "socket_bytes_down_per_machine_and_step": round(down / count, 1),
        "ms_per_step": spread(milliseconds, 1),
    }


class Weights:
    """So many trainable numbers, and nothing else of a model."""

    def __init__(self, count: int, device: str) -> None:
        self.parameter = nn.Parameter(torch.zeros(count, device=device))

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return [("weights", self.parameter)]


def frames_of(rounds: int) -> list[bytes]:
    """A run of four machines with random codes."""
    random = np.random.default_rng(0)
    records = [Record(Kind.JOIN, peer, 0, a_join(peer)) for peer in range(LOG_MACHINES)]
    records.append(Record(Kind.START, 0, 0, Start().model_dump_json().encode()))
    for number in range(rounds):
        for peer in range(LOG_MACHINES):
            codes = random.integers(1, 128, DIRECTIONS, dtype=np.uint8).tobytes()
            records.append(Record(Kind.PAYLOAD, peer, number, codes, aux=8))
    return [record.encode() for record in records]


def replay(rounds: int, count: int, device: str) -> dict[str, Any]:
    """Seconds from the log's bytes to the weights on ``device``."""
    frames = b"".join(frames_of(rounds))
    begin = time.perf_counter()
    state = RunState()
    for record in decode(frames):
        state.apply(record)
    read = time.perf_counter()
    weights = Weights(count, device)
    Replica(Settings(directions=DIRECTIONS), 17, weights).replay(state.closed)  # type: ignore[arg-type]
    float(weights.parameter.detach()[0])  # CUDA has done all of it once this is known
    end = time.perf_counter()
    return {
        "log_bytes": len(frames),
        "seconds_log": round(read - begin, 3),
        "seconds_weights": round(end - read, 3),
        "updates_per_second": round(count * rounds * LOG_MACHINES * DIRECTIONS / (end - read)),
    }


async def join(root: Path, port: int, num_records: int) -> dict[str, float]:
    """Seconds to fetch a log from the hub, and to check and read it."""
    wire = await Wire.open(port, context_of(root, 0))
    begin, seen, pieces = time.perf_counter(), 0, []
    while seen < num_records:
        headers, frames = await wire.request("GET", f"/log?from={seen}&wait=0", "i0")
        seen = int(headers[NEXT_HEADER.lower()])
        pieces.append((frames, head_of(headers)))
    fetched = time.perf_counter()
    ledger, state = Ledger(RUN), RunState()
    for frames, head in pieces:
        for record in ledger.follow(frames, head):
            state.apply(record)
    end = time.perf_counter()
    wire.writer.close()
    return {
        "seconds_fetch": round(fetched - begin, 3),
        "seconds_check_and_read": round(end - fetched, 3),
    }


def join_of(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pairs(root, 1)
        journal, frames = Journal(root / "data" / "log", RUN), frames_of(rounds)
        for frame in frames:
            journal.append(frame)
        journal.close()
        with hub_process(root) as hub:
            return asyncio.run(join(root, hub.port, len(frames)))


def bytes_of(num_machines: int, num_steps: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pairs(root, num_machines)
        with hub_process(root) as hub:
            return asyncio.run(steps(root, hub.port, num_machines, num_steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few of each, in a minute")
    small = parser.parse_args().small
    device = "cuda" if torch.cuda.is_available() else "cpu"
    replays = ((100, 10_000), (100, 100_000)) if small else REPLAYED[device]
    figures = {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "steps": {
            f"{n}_machines": bytes_of(n, 5 if small else STEPS)
            for n in (MACHINES[:2] if small else MACHINES)
        },
        "replay": {f"{t}_rounds_{d}_weights": replay(t, d, device) for t, d in replays},
        "join": {f"{t}_rounds": join_of(t) for t in (JOINED[:1] if small else JOINED)},
    }
    write("spsa_log", figures, "_small" if small else "")


if __name__ == "__main__":
    main()
