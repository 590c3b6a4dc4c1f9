"""Real processes, started, restarted and stopped as a kubelet would."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from haversack_operator.cluster.local_launch import Data, Place
from haversack_operator.cluster.podrunner import BackOff, PodRun

QUICK = BackOff(base_seconds=0.01, max_seconds=0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class NoObjects:
    def config_map(self, name: str) -> Data | None:
        return None

    def secret(self, name: str) -> Data | None:
        return None


def a_pod(program: str, policy: str = "OnFailure", **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "team"},
        "spec": {
            "restartPolicy": policy,
            "containers": [
                {"name": "trainer", "command": [sys.executable, "-c", program], **container}
            ],
        },
    }


class Watched:
    """A running pod, and a way to wait for what it comes to."""

    def __init__(self, pod: dict[str, Any], folder: Path) -> None:
        self._news = asyncio.Event()
        self.run = PodRun(
            pod,
            Place(folder, "127.0.0.1"),
            NoObjects(),
            environment=dict(os.environ),
            back_off=QUICK,
            changed=self._news.set,
        )

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while not holds(status := self.run.status()):
                self._news.clear()
                await self._news.wait()
        return status


@asynccontextmanager
async def running(pod: dict[str, Any], folder: Path) -> AsyncIterator[Watched]:
    watched = Watched(pod, folder)
    try:
        yield watched
    finally:
        await watched.run.stop(0)


def container(status: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = status["containerStatuses"][0]
    return first


@pytest.mark.parametrize(
    ("program", "policy", "phase", "code"),
    [
        ("print('well')", "OnFailure", "Succeeded", 0),
        ("raise SystemExit(42)", "Never", "Failed", 42),
        ("import os; os.kill(os.getpid(), 9)", "Never", "Failed", 137),
    ],
)
async def test_a_pod_ends_with_its_container(
    tmp_path: Path, program: str, policy: str, phase: str, code: int
) -> None:
    async with running(a_pod(program, policy), tmp_path) as pod:
        status = await pod.until(lambda s: s["phase"] in {"Succeeded", "Failed"})
    assert status["phase"] == phase
    assert container(status)["state"]["terminated"]["exitCode"] == code


async def test_a_crash_is_restarted_in_place_and_says_its_last_words(tmp_path: Path) -> None:
    async with running(a_pod("raise SystemExit('no such model')"), tmp_path) as pod:
        status = await pod.until(lambda s: container(s)["restartCount"] >= 2)
        ended = container(status)["lastState"] or container(status)["state"]
    assert status["phase"] == "Running"
    assert ended["terminated"]["exitCode"] == 1
    assert ended["terminated"]["message"].endswith("no such model")


def a_server(port: int, on_sigterm: str) -> dict[str, Any]:
    """A pod that is ready when it listens, which is after it has set its signal handler."""
    program = (
        "import signal, socket, sys, time\n"
        f"signal.signal(signal.SIGTERM, {on_sigterm})\n"
        f"server = socket.create_server(('127.0.0.1', {port}))\n"
        "time.sleep(60)"
    )
    return a_pod(program, readinessProbe={"tcpSocket": {"port": port}})


async def test_sigterm_comes_first_and_the_pod_is_not_restarted(tmp_path: Path) -> None:
    async with running(a_server(free_port(), "lambda *_: sys.exit(75)"), tmp_path) as pod:
        await pod.until(lambda s: container(s)["ready"])
        await pod.run.stop(20)
        status = pod.run.status()
    assert status["phase"] == "Failed"
    assert container(status)["state"]["terminated"]["exitCode"] == 75


async def test_who_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    async with running(a_server(free_port(), "signal.SIG_IGN"), tmp_path) as pod:
        await pod.until(lambda s: container(s)["ready"])
        await pod.run.stop(0.2)
        assert container(pod.run.status())["state"]["terminated"]["exitCode"] == 137


async def test_a_pod_is_not_ready_while_nobody_listens(tmp_path: Path) -> None:
    probe = {"tcpSocket": {"port": free_port()}}
    async with running(a_pod("import time; time.sleep(60)", readinessProbe=probe), tmp_path) as pod:
        status = await pod.until(lambda s: s["phase"] == "Running")
        assert not container(status)["ready"]


async def test_a_missing_secret_is_told_and_waited_for(tmp_path: Path) -> None:
    pod = a_pod("pass", envFrom=[{"secretRef": {"name": "s3"}}])
    async with running(pod, tmp_path) as watched:
        status = await watched.until(lambda s: container(s)["state"]["waiting"]["message"] != "")
    assert status["phase"] == "Pending"
    assert container(status)["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": "Secret s3 is not there",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_container_dies_with_its_runner() -> None:
    runner = (
        "import os, subprocess, sys\n"
        "from haversack_operator.cluster.podrunner import EXEC\n"
        "child = subprocess.Popen([sys.executable, '-IS', str(EXEC), str(os.getpid()),\n"
        "    sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)'],\n"
        "    stdout=subprocess.PIPE)\n"
        "child.stdout.read(1)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", runner], capture_output=True, text=True, timeout=30, check=False
    )
    pid = int(done.stdout)
    gone = Path(f"/proc/{pid}/stat")
    for _ in range(1000):
        if not gone.exists() or gone.read_text().split(")")[1].split()[0] == "Z":
            return
        os.sched_yield()
    pytest.fail(f"process {pid} outlived its runner")
