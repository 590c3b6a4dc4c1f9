"""How fast this machine is: its CPUs at training's main work, and its loopback, which the peers of ``haversack run`` talk over."""

from __future__ import annotations

import socket
import threading
import time
from statistics import median
from typing import Final

from haversack_trainer.contract.traffic import BITS, Line

from .machine import num_cpus

WIDTH: Final = 768
REPEATS: Final = 3
EFFICIENCY: Final = 0.5
"""What training makes of the speed of matrix products alone."""
SENT_BYTES: Final = 32 * 2**20
PINGS: Final = 20
PATIENCE_SECONDS: Final = 10


def flops_per_cpu() -> float:
    """Floating-point operations a second that training can count on, of each CPU."""
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), dtype=np.float32)
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - begin)
    return EFFICIENCY * 2 * WIDTH**3 / best / num_cpus()


def loopback() -> Line:
    """From one socket of this machine to another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), PATIENCE_SECONDS)
        accepted, _ = server.accept()
    with client, accepted:
        for end in (client, accepted):
            end.settimeout(PATIENCE_SECONDS)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_echo, args=(accepted,), daemon=True).start()
        latency = median(_ping_seconds(client) for _ in range(PINGS)) / 2
        begin = time.perf_counter()
        client.sendall(bytes(SENT_BYTES))
        client.shutdown(socket.SHUT_WR)
        client.recv(1)
        seconds = time.perf_counter() - begin
    return Line(BITS * SENT_BYTES / seconds, latency)


def _ping_seconds(client: socket.socket) -> float:
    begin = time.perf_counter()
    client.sendall(b".")
    client.recv(1)
    return time.perf_counter() - begin


def _echo(end: socket.socket) -> None:
    """Answers each ping; then takes in all that comes and says when it was all."""
    for _ in range(PINGS):
        end.sendall(end.recv(1))
    while end.recv(2**20):
        pass
    end.sendall(b".")
