"""Real processes of a pod: how they are started, told to stop, and missed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from haversack_trainer.contract.exits import ExitCode
from haversack_trainer.pod.start import run_processes

SLEEP = "time.sleep(60)"


def program(text: str) -> list[str]:
    return [sys.executable, "-IS", "-c", f"import os, signal, sys, time\n{text}"]


def run(
    folder: Path, text: str, *, stop: bool = False, size: int = 2, threads: int = 1
) -> ExitCode:
    return run_processes(
        size, folder, {"PATH": ""}, lambda: stop, threads=threads, command=program(text)
    )


def test_each_process_is_told_which_it_is(tmp_path: Path) -> None:
    told = "RANK LOCAL_RANK WORLD_SIZE OMP_NUM_THREADS HAVERSACK_PROCESS HAVERSACK_MEETING"
    text = (
        f"open(os.path.join({str(tmp_path)!r}, os.environ['RANK']), 'w')"
        f".write(' '.join(os.environ[name] for name in {told.split()!r}))"
    )
    assert run(tmp_path, text, size=3, threads=8) is ExitCode.DONE
    words = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [word[:5] for word in words] == [[f"{r}", f"{r}", "3", "2", f"{r}"] for r in range(3)]
    (meeting,) = {word[5] for word in words}
    assert Path(meeting).parent == tmp_path


def test_a_follower_that_is_gone_is_missed_at_once(tmp_path: Path) -> None:
    text = (
        "if os.environ['RANK'] == '1':\n os.kill(os.getpid(), signal.SIGKILL)\n"
        # As gloo does, when the other end of a connection is gone.
        "else:\n sys.exit(1)"
    )
    assert run(tmp_path, text) is ExitCode.CRASHED


def test_nobody_is_left_behind(tmp_path: Path) -> None:
    """A process that waits for one that is gone is ended, too."""
    began = time.monotonic()
    text = f"sys.exit(42) if os.environ['RANK'] == '1' else {SLEEP}"
    assert run(tmp_path, text) is ExitCode.BAD_NODE
    assert time.monotonic() - began < 60  # the program's own end


def test_only_the_first_process_is_told_to_stop(tmp_path: Path) -> None:
    text = (
        "def stopped(*_):\n"
        f" open(os.path.join({str(tmp_path)!r}, 'told-' + os.environ['RANK']), 'w').close()\n"
        " sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stopped)\n"
        f"ready = lambda rank: os.path.join({str(tmp_path)!r}, f'ready-{{rank}}')\n"
        "open(ready(os.environ['RANK']), 'w').close()\n"
        f"told = os.path.join({str(tmp_path)!r}, 'told-0')\n"
        "while not os.path.exists(told): time.sleep(0.01)\n"
    )

    def stop() -> bool:
        return all((tmp_path / f"ready-{rank}").exists() for rank in range(2))

    found = run_processes(2, tmp_path, {"PATH": ""}, stop, command=program(text))
    assert found is ExitCode.PREEMPTED
    assert [path.name for path in tmp_path.glob("told-*")] == ["told-0"]
