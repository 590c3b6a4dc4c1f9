"""D2FT on a pod of two processes that have the groups of its model, on a real hub."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import run_harness
from command_pods import Pods, exit_code

from haversack_trainer.contract.exits import ExitCode

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Pods]:
    model = run_harness.a_model(tmp_path / "model")
    data = run_harness.a_data_file(tmp_path / "train.jsonl")
    settings = {"sharding": "Groups", **run_harness.ON_TWO_LAYERS["D2FT"]}
    sections: dict[str, Any] = {
        "numPeers": 1,
        "minPeers": 1,
        "gangTimeoutSeconds": 200,
        "heartbeatTimeoutSeconds": 5,
        "training": {"rounds": 100_000, "batchSize": 4},
        "checkpoint": {"periodRounds": 2},
    }
    spec = run_harness.a_job(model, data, tmp_path / "store", "D2FT", settings, **sections)
    pods = Pods(tmp_path, spec.model_dump(mode="json", by_alias=True))
    yield pods
    for process in pods.started:
        process.kill()
        process.wait()


def test_a_pod_falls_with_a_process_that_has_groups_and_resumes(job: Pods, tmp_path: Path) -> None:
    job.hub()
    falling = job.peer(0, processes=2)
    job.wait_for_round("peer-0", 3)
    children = Path(f"/proc/{falling.pid}/task/{falling.pid}/children").read_text().split()
    os.kill(max(map(int, children)), signal.SIGKILL)
    assert exit_code(falling) == ExitCode.CRASHED
    assert "was ended by signal 9, so that all of them ended" in job.words("peer-0")
    training = {"rounds": job.closed("peer-0")[-1]["round"] + 4, "batchSize": 4}
    again = job.peer(0, "again", processes=2, training=training)
    assert exit_code(again) == ExitCode.DONE, job.words("again")
    assert "Traceback" not in job.words("again")
    assert list((tmp_path / "store/job").rglob("adapter_model.safetensors"))
