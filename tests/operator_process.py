"""``haversack-operator`` as a process of its own, against a test's API server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from binaries import free_port

READY_SECONDS = 60.0


@dataclass(frozen=True)
class OperatorProcess:
    """It is ready."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of ``/healthz``, ``/readyz`` or ``/metrics``."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def cpu_seconds(self) -> float:
        """User and system time so far (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def operating(kubeconfig: Path, log: Path, *flags: str) -> Iterator[OperatorProcess]:
    """A started operator; it is killed at the end if it still runs."""
    port = free_port()
    command = [sys.executable, "-m", "haversack_operator.main", f"--metrics-port={port}"]
    command += ["--trainer-image=registry.test/trainer:1", *flags]
    source = Path(__file__).parents[1]
    roots = os.pathsep.join(str(source / root) for root in ("operator", "trainer"))
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": roots}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        operator = OperatorProcess(process, port, log)
        _wait_ready(operator)
        yield operator
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_ready(operator: OperatorProcess) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and operator.process.poll() is None:
        try:
            if operator.page("/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the operator did not become ready:\n{operator.log.read_text()}")
