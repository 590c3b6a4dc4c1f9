"""Hub and peers as pods run them: processes with job files, certificates and a store in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import run_harness
from hub_certificates import HUB_NAME, Authority
from run_harness import RUN

from haversack_trainer.contract.environment import (
    EXTENSIONS,
    HUB_URL,
    JOB_FILE,
    LISTEN,
    PEER,
    PROCESSES,
    TLS_DIR,
    WORK_DIR,
)
from haversack_trainer.contract.environment import HUB_NAME as HUB_NAME_VARIABLE

PATIENCE_SECONDS = 180


@contextmanager
def pods_of(folder: Path, method: str, settings: dict[str, Any], **sections: Any) -> Iterator[Pods]:
    """Of a job with a small model and data for it, all in ``folder``; ended afterwards. ``sections``: of its job file."""
    model = run_harness.a_model(folder / "model")
    data = run_harness.a_data_file(folder / "train.jsonl")
    job = run_harness.a_job(
        model, data, folder / "store", method, settings, gangTimeoutSeconds=200, **sections
    )
    pods = Pods(folder, job.model_dump(mode="json", by_alias=True))
    try:
        yield pods
    finally:
        for process in pods.started:
            process.kill()
            process.wait()


@dataclass
class Pods:
    """Processes of one job, started as its pods would be."""

    folder: Path
    job: dict[str, Any]
    port: int = 0
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder / "tls", RUN)

    def hub(self, name: str = "hub") -> subprocess.Popen[str]:
        """Listening, on a port that the system chose."""
        process = self.start_hub(name)
        self.port = int(self.wait_for_words(name, " on port ").partition(",")[0])
        return process

    def start_hub(self, name: str = "hub") -> subprocess.Popen[str]:
        return self._start("hub", name, "hub", {LISTEN: "127.0.0.1:0"})

    def peer(
        self, number: int, name: str = "", *, processes: int | None = None, **job: Any
    ) -> subprocess.Popen[str]:
        """``job`` replaces sections of its job file."""
        addresses = {
            PEER: str(number),
            HUB_URL: f"https://127.0.0.1:{self.port}",
            HUB_NAME_VARIABLE: HUB_NAME,
        }
        if processes is not None:
            addresses |= {PROCESSES: str(processes), EXTENSIONS: str(self.folder / "extensions")}
        return self._start("peer", name or f"peer-{number}", f"peer-{number}", addresses, **job)

    def _start(
        self, role: str, name: str, certificate: str, variables: dict[str, str], **job: Any
    ) -> subprocess.Popen[str]:
        work = self.folder / name
        work.mkdir(exist_ok=True)
        (work / "job.json").write_text(json.dumps(self.job | job))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "OMP_NUM_THREADS": "1",
            JOB_FILE: str(work / "job.json"),
            TLS_DIR: str(self.authority.folder(certificate)),
            WORK_DIR: str(work),
            **variables,
        }
        with (work / "stderr").open("w") as words:
            command = [str(Path(sys.executable).with_name("haversack-trainer")), role]
            process = subprocess.Popen(command, env=environ, stderr=words, text=True)
        self.started.append(process)
        return process

    def words(self, name: str) -> str:
        """What the process of this name wrote to its log."""
        return (self.folder / name / "stderr").read_text()

    def wait_for_words(self, name: str, sentence: str) -> str:
        """What follows the sentence in the log of the process of this name, once it is there."""
        self._wait(lambda: sentence in self.words(name))
        return self.words(name).partition(sentence)[2]

    def wait_for_round(self, name: str, number: int) -> None:
        """Until that round is closed."""
        self._wait(lambda: any(event.get("round") == number for event in self.closed(name)))

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            assert time.monotonic() < deadline, [path.read_text() for path in self._logs()]
            time.sleep(0.1)

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("*/stderr"))

    def closed(self, name: str) -> list[dict[str, Any]]:
        """The rounds that the process of this name has seen closed."""
        path = self.folder / name / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["kind"] == "RoundClosed"]


def exit_code(process: subprocess.Popen[str]) -> int:
    return process.wait(timeout=PATIENCE_SECONDS)
