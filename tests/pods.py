"""Processes of one pod, for tests: each runs some functions of ``pod_checks`` and says what it found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 400


def run_pod(folder: Path, *checks: str, size: int = 2, **environment: str) -> list[str]:
    """Output of every process. Fails with the output of all if one of them fails."""
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TORCH_EXTENSIONS_DIR": str(folder / "extensions"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **environment,
    }
    logs = [folder / f"process-{rank}.log" for rank in range(size)]
    processes = []
    for rank, log in enumerate(logs):
        with log.open("wb") as file:
            command = [sys.executable, str(HERE / "pod_checks.py"), str(folder), *checks]
            of_rank = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
            processes.append(
                subprocess.Popen(command, env=environ | of_rank, stdout=file, stderr=file)
            )
    try:
        codes = [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [log.read_text() for log in logs]
    assert not any(codes), "\n".join(f"--- process {r}: {codes[r]}\n{said[r]}" for r in range(size))
    return said
