"""The commands as pods run them: processes, job files, certificates, a store in a folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import run_harness
from command_pods import Pods, exit_code
from safetensors.torch import load_file

from haversack_trainer.contract.exits import ExitCode

pytestmark = pytest.mark.timeout(400)


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
