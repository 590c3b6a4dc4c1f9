"""Runs a pod as a subprocess of this machine, the way a kubelet runs its container.

Shared by the local cluster and by the node agent of the end-to-end tests. It restarts a container
as ``restartPolicy`` says, with a doubling back-off, stops it by SIGTERM and after the grace period by
SIGKILL, writes its output to a file, and tells its state as the API does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from .base import Manifest
from .local_launch import Launch, Objects, Place, PodError, container_of, prepare, threads
from .local_podstate import Ended, PodState

EXEC: Final = Path(__file__).with_name("local_exec.py")
MESSAGE_BYTES: Final = 2048
PROBE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class BackOff:
    """Waits between restarts; a container that ran for ``reset_seconds`` starts over."""

    base_seconds: float = 10.0
    max_seconds: float = 300.0
    reset_seconds: float = 600.0

    def after(self, failures: int) -> float:
        return min(self.max_seconds, self.base_seconds * 2.0 ** min(failures, 30))


class PodRun:
    """One pod, from its start until it is stopped."""

    def __init__(
        self,
        pod: Manifest,
        place: Place,
        objects: Objects,
        *,
        environment: Mapping[str, str],
        back_off: BackOff,
        changed: Callable[[], None],
    ) -> None:
        self.pod = pod
        self.place = place
        self.state = PodState(ip=place.ip)
        self._objects = objects
        self._environment = environment
        self._back_off = back_off
        self._changed = changed
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._live())

    @property
    def log(self) -> Path:
        return self.place.folder / "log.txt"

    def status(self) -> dict[str, Any]:
        """The pod's ``status`` as in core/v1."""
        return self.state.status(container_of(self.pod)["name"])

    def crash(self) -> None:
        """SIGKILL to the process; what happens next is the restart policy's word."""
        self._signal(signal.SIGKILL)

    async def stop(self, grace_seconds: float | None = None) -> None:
        """End it for good: SIGTERM, and SIGKILL when the grace period is over (0: at once)."""
        if grace_seconds is None:
            grace_seconds = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        self._stopping.set()
        if grace_seconds > 0:
            self._signal(signal.SIGTERM)
            await asyncio.wait([self._task], timeout=grace_seconds)
        while not self._task.done():
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._task], timeout=1)

    def _set(self, **changes: Any) -> None:
        before, self.state = self.state, replace(self.state, **changes)
        if self.state != before:
            self._changed()

    def _signal(self, number: int) -> None:
        if self.state.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.state.pid, number)

    async def _live(self) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._once()
            if self._stopping.is_set() or not _restarts(policy, code):
                self._set(phase="Failed" if code else "Succeeded", waiting=None)
                return
            if time.monotonic() - began > self._back_off.reset_seconds:
                failures = 0
            await self._pause(self._back_off.after(failures))
            failures += 1
        self._set(phase="Failed", waiting=None)

    async def _once(self) -> int | None:
        """Run the container to its end; None if it could not be started."""
        try:
            launch = prepare(self.pod, self.place, self._objects)
            with _open_log(self.log) as log:
                process = await _spawn(launch, self._full(launch), self.place.folder, log)
        except (PodError, OSError) as error:
            self._set(waiting=("CreateContainerConfigError", str(error)))
            return None
        started = _now()
        self._set(phase="Running", pid=process.pid, started=started, waiting=None)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        probe = asyncio.create_task(self._probe())
        code = await process.wait()
        probe.cancel()
        code = 128 - code if code < 0 else code
        ended = Ended(code, _tail(self.log) if code else "", started, _now())
        self._set(pid=None, ready=False, ended=ended)
        return code

    async def _pause(self, seconds: float) -> None:
        ran = self.state.ended is not None
        if ran:
            self._set(
                waiting=("CrashLoopBackOff", f"back-off {seconds:g}s restarting the container")
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        if ran and not self._stopping.is_set():
            self._set(restarts=self.state.restarts + 1)

    async def _probe(self) -> None:
        """Ready once the probe's port answers; at once where there is no probe."""
        socket = container_of(self.pod).get("readinessProbe", {}).get("tcpSocket")
        while socket is not None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(self.place.ip, _port(self.pod, socket))
                writer.close()
                break
            await asyncio.sleep(PROBE_SECONDS)
        self._set(ready=True)

    def _full(self, launch: Launch) -> dict[str, str]:
        count = str(threads(self.pod, os.cpu_count() or 1))
        return {"OMP_NUM_THREADS": count, **self._environment, **launch.env}


def _restarts(policy: str, code: int | None) -> bool:
    return code is None or policy == "Always" or (policy == "OnFailure" and code != 0)


def _port(pod: Manifest, socket: Mapping[str, Any]) -> int:
    port = socket["port"]
    named = {
        entry.get("name"): entry["containerPort"] for entry in container_of(pod).get("ports", [])
    }
    return int(named.get(port, port))


async def _spawn(
    launch: Launch, env: Mapping[str, str], folder: Path, log: BinaryIO
) -> asyncio.subprocess.Process:
    for path in launch.folders:
        path.mkdir(parents=True, exist_ok=True)
    for path, data in launch.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(data)
    program, *arguments = launch.argv
    return await asyncio.create_subprocess_exec(
        sys.executable, "-IS", str(EXEC), str(os.getpid()), _find(program), *arguments,
        env=env, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip


def _find(program: str) -> str:
    """The program installed beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise PodError(f"{program} is not installed beside {sys.executable}, nor on the PATH")
    return found


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _tail(path: Path) -> str:
    with path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - MESSAGE_BYTES))
        return log.read().decode(errors="replace").strip()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
