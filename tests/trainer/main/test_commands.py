"""The commands as pods run them: processes, job files, certificates, a store in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import run_harness
from hub_certificates import HUB_NAME, Authority
from run_harness import RUN
from safetensors.torch import load_file

from haversack_trainer.contract.environment import HUB_NAME as HUB_NAME_VARIABLE
from haversack_trainer.contract.environment import (
    HUB_URL,
    JOB_FILE,
    LISTEN,
    PEER,
    TLS_DIR,
    WORK_DIR,
)
from haversack_trainer.contract.exits import ExitCode

pytestmark = pytest.mark.timeout(400)
PATIENCE_SECONDS = 180


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

    def peer(self, number: int, name: str = "", **job: Any) -> subprocess.Popen[str]:
        """``job`` replaces sections of its job file."""
        addresses = {
            PEER: str(number),
            HUB_URL: f"https://127.0.0.1:{self.port}",
            HUB_NAME_VARIABLE: HUB_NAME,
        }
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
        self._wait(lambda: any(event.get("round") == number for event in self._closed(name)))

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            assert time.monotonic() < deadline, [path.read_text() for path in self._logs()]
            time.sleep(0.1)

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("*/stderr"))

    def _closed(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["kind"] == "RoundClosed"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def pods(tmp_path: Path, model: Path) -> Iterator[Callable[..., Pods]]:
    """Makes the pods of a job of two peers; ends what is left of them."""
    made: list[Pods] = []

    def make(method: str, **changes: Any) -> Pods:
        data = run_harness.a_data_file(tmp_path / "train.jsonl")
        sections = {"numPeers": 2, "minPeers": 2, "reportPeriodSeconds": 1} | changes
        job = run_harness.a_job(model, data, tmp_path / "store", method, **sections)
        made.append(Pods(tmp_path, job.model_dump(mode="json", by_alias=True)))
        return made[-1]

    yield make
    for process in (process for pods in made for process in pods.started):
        process.kill()
        process.wait()


def exit_code(process: subprocess.Popen[str]) -> int:
    return process.wait(timeout=PATIENCE_SECONDS)


def test_a_run_to_the_published_adapter_and_a_stranger_is_turned_away(
    pods: Callable[..., Pods], tmp_path: Path
) -> None:
    job = pods("DecLoRA")
    hub, first = job.hub(), job.peer(0)
    job.wait_for_words("peer-0", "joined")
    stranger = job.peer(1, "stranger", adapter={"lora": {"rank": 4}})
    assert exit_code(stranger) == ExitCode.BAD_JOB
    assert "differs from this run in adapter" in job.words("stranger")
    assert "Traceback" not in job.words("stranger")
    second = job.peer(1)
    assert [exit_code(process) for process in (first, second)] == [ExitCode.DONE] * 2
    assert hub.poll() is None
    hub.send_signal(signal.SIGTERM)
    assert exit_code(hub) == ExitCode.DONE
    store = tmp_path / "store" / "job"
    assert "</html>" in (store / "report.html").read_text()
    latest = json.loads((store / "latest.json").read_text())
    folder = (store / latest["manifest"]).parent
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {
        path.name for path in folder.iterdir()
    }
    lines = (store / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds.count("RoundClosed") == 6
    assert kinds[-2:] == ["VerdictGiven", "Published"]
    assert load_file(folder / "adapter_model.safetensors")
    assert "Traceback" not in job.words("peer-0") + job.words("peer-1") + job.words("hub")


def test_sigterm_saves_and_the_run_goes_on_from_there(pods: Callable[..., Pods]) -> None:
    job = pods("SPSA", training={"rounds": 400, "batchSize": 4}, checkpoint={"periodRounds": 1000})
    hub, peers = job.hub(), [job.peer(0), job.peer(1)]
    job.wait_for_round("peer-0", 5)
    for peer in peers:
        peer.send_signal(signal.SIGTERM)
    assert [exit_code(peer) for peer in peers] == [ExitCode.PREEMPTED] * 2
    hub.send_signal(signal.SIGTERM)
    assert exit_code(hub) == ExitCode.DONE
    job.started.clear()
    job.hub("hub-again")
    resumed = [job.peer(0, "again-0"), job.peer(1, "again-1")]
    first = int(job.wait_for_words("again-0", "starting round ").split()[0])
    assert first > 5
    job.wait_for_round("again-0", first)
    assert all(peer.poll() is None for peer in resumed)


@pytest.mark.parametrize(
    ("role", "changes", "sentence"),
    [
        ("hub", {"method": {"type": "Telepathy"}}, "method.type 'Telepathy' is not known"),
        ("peer", {"method": {"type": "SPSA", "settings": {"direction": 3}}}, "direction"),
        ("peer", {"training": {"rounds": 0}}, "training.rounds"),
        ("peer", {"minPeers": 3}, "minPeers"),
    ],
)
def test_a_bad_job_file_ends_with_one_sentence(
    pods: Callable[..., Pods], role: str, changes: dict[str, Any], sentence: str
) -> None:
    job = pods("SPSA")
    job.job |= changes
    process = job.start_hub() if role == "hub" else job.peer(0)
    assert exit_code(process) == ExitCode.BAD_JOB
    words = job.words("hub" if role == "hub" else "peer-0")
    assert sentence in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapter": {"lora": {"dropout": "0.1"}}}, "adapter.lora.dropout is 0.1; set it to 0"),
        ({"dataset": {"uri": "file:///not/there.jsonl"}}, "/not/there.jsonl"),
        (
            {"model": {"uri": "file:///not/a/model", "task": "SequenceClassification"}},
            "/not/a/model",
        ),
    ],
)
def test_what_cannot_work_is_a_bad_job(
    pods: Callable[..., Pods], changes: dict[str, Any], sentence: str
) -> None:
    job = pods("SPSA")
    assert exit_code(job.peer(0, **changes)) == ExitCode.BAD_JOB
    assert sentence in job.words("peer-0")
    assert "Traceback" not in job.words("peer-0")


def test_help_explains_itself() -> None:
    script = Path(sys.executable).with_name("haversack-trainer")
    words = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "peer" in words
    assert "Exit codes" in words
