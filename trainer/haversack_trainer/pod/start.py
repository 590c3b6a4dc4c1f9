"""The pod's first program: starts a process per accelerator and says how the pod as a whole has ended.

It imports no torch, and gives its children what torchrun would.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Final
from uuid import uuid4

from haversack_trainer.contract import environment as env
from haversack_trainer.contract.exits import ExitCode

from .verdict import Ended, verdict

COMMAND: Final = (sys.executable, "-m", "haversack_trainer.main", "peer")
LOOK_SECONDS: Final = 0.5
"""Between two looks at the stop flag."""
FOLLOW_SECONDS: Final = 10.0
"""What is left to the others once one process has ended: without it they can do nothing anyway."""
NEVER: Final = float("inf")
PR_SET_PDEATHSIG: Final = 1
_logger = logging.getLogger(__name__)
_Process = subprocess.Popen[bytes]


def run_processes(
    size: int,
    work_dir: Path,
    environ: Mapping[str, str],
    stop: Callable[[], bool],
    *,
    threads: int = 1,
    command: Sequence[str] = COMMAND,
) -> ExitCode:
    """Returns once no process is left. ``stop()`` true: the first process is told, and ends the others.
    ``threads`` are shared out."""
    work_dir.mkdir(parents=True, exist_ok=True)
    meeting = work_dir / f"meeting-{uuid4().hex}"
    common = {**environ, "OMP_NUM_THREADS": str(max(1, threads // size))}
    processes = [
        subprocess.Popen(command, env=child_environment(common, rank, size, meeting))  # noqa: S603  # our own
        for rank in range(size)
    ]
    try:
        endings = _watch(processes, stop)
    finally:
        _kill(processes)
        meeting.unlink(missing_ok=True)
    code, word = verdict(endings, size)
    if word:
        _logger.error("%s", word)
    return code


def child_environment(
    environ: Mapping[str, str], rank: int, size: int, meeting: Path
) -> dict[str, str]:
    """What a process of the pod is told."""
    return {
        **environ,
        env.PROCESS: str(rank),
        env.MEETING: str(meeting),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }


def die_with_parent() -> None:
    """So that no process of a pod outlives it, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(processes: Sequence[_Process], stop: Callable[[], bool]) -> list[Ended]:
    """The ends of all, in their order."""
    ends: Queue[Ended] = Queue()
    for rank, process in enumerate(processes):
        Thread(target=_await, args=(rank, process, ends), daemon=True).start()
    endings: list[Ended] = []
    is_told, deadline = False, NEVER
    while len(endings) < len(processes):
        try:
            endings.append(ends.get(timeout=LOOK_SECONDS))
            deadline = min(deadline, time.monotonic() + FOLLOW_SECONDS)
        except Empty:
            pass
        if stop() and not is_told:
            is_told = True
            processes[0].send_signal(signal.SIGTERM)
        if time.monotonic() > deadline:
            _kill(processes)
            deadline = NEVER
    return endings


def _await(rank: int, process: _Process, ends: Queue[Ended]) -> None:
    ends.put(Ended(rank, process.wait()))


def _kill(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.kill()
