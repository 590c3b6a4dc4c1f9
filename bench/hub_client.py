"""A hub in a process of its own, and peers that cost as little as possible, for the hub's benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.wan import Link, relays

from haversack_operator.cluster.certificates import complete
from haversack_trainer.contract.membership import Identity, Join
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.exchange.wire import HEAD_HEADER, INCARNATION_HEADER, client_context
from haversack_trainer.hub.serve import HubSettings
from haversack_trainer.hub.serve import run as run_hub

RUN: Final = "bench.hub.00000000"
HUB_NAME: Final = "hub.bench.svc"
IDENTITY: Final = Identity(base_model="", adapter="", trainables="", method="", seed="", data="")
_TICK: Final = os.sysconf("SC_CLK_TCK")


def a_join(peer: int) -> bytes:
    join = Join(identity=IDENTITY, incarnation=f"i{peer}")
    return join.model_dump_json(by_alias=True).encode()


def pairs(root: Path, num_peers: int) -> None:
    """A folder per name below ``root``, as the operator would mount it."""
    names = ["hub", *(f"peer-{peer}" for peer in range(num_peers))]
    secret = complete({}, names, run=RUN, hub_name=HUB_NAME, now=datetime.now(UTC))
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(secret["ca.crt"])
        (folder / "tls.crt").write_bytes(secret[f"{name}.crt"])
        (folder / "tls.key").write_bytes(secret[f"{name}.key"])


@dataclass(frozen=True)
class HubProcess:
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def peak_rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)


@contextmanager
def hub_process(root: Path) -> Iterator[HubProcess]:
    """The real hub, with its log on this machine's disk."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = HubSettings(RUN, root / "data", root / "hub", "127.0.0.1", port)
    encoded = json.dumps(asdict(settings), default=str)
    process = subprocess.Popen([sys.executable, "-m", "bench.hub_client", encoded])
    try:
        _await_port(port)
        yield HubProcess(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(timeout=30) != 0:
            raise RuntimeError("the hub did not stop cleanly")


@contextmanager
def hub_doors(
    num_peers: int, link: Link | None = None
) -> Iterator[tuple[HubProcess, Callable[[int], HttpExchange]]]:
    """A hub, and what a peer reaches it by: if ``link`` is given, behind a line of its own."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        pairs(root, num_peers)
        hub = stack.enter_context(hub_process(root))
        lines = stack.enter_context(relays(link, hub.port, num_peers)) if link else None

        def door(peer: int) -> HttpExchange:
            made = HttpExchange(
                f"https://127.0.0.1:{lines[peer].port if lines else hub.port}",
                hub_name=HUB_NAME,
                tls_dir=root / f"peer-{peer}",
                run=RUN,
                me=peer,
            )
            stack.callback(made.close)
            return made

        yield hub, door


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the hub does not listen")


@dataclass
class Wire:
    """One keep-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> Wire:
        streams = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=HUB_NAME
        )
        return cls(*streams)

    async def request(
        self, method: str, path: str, incarnation: str, body: bytes = b""
    ) -> tuple[dict[str, str], bytes]:
        """Headers in lower case, and the body. Raises ``RuntimeError`` unless the status is 2xx."""
        head = (
            f"{method} /v1/runs/{RUN}{path} HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n"
            f"{INCARNATION_HEADER}: {incarnation}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        answer = await self.reader.readexactly(int(headers["content-length"]))
        if lines[0].split()[1][0] != "2":
            raise RuntimeError(f"{lines[0]}: {answer.decode()}")
        return headers, answer


def context_of(root: Path, peer: int) -> ssl.SSLContext:
    return client_context(root / f"peer-{peer}")


def head_of(headers: dict[str, str]) -> bytes:
    return bytes.fromhex(headers[HEAD_HEADER.lower()])


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    fields |= {name: Path(fields[name]) for name in ("folder", "tls_dir")}
    run_hub(HubSettings(**fields))
