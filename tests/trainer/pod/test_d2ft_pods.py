"""D2FT on a pod of two processes that have the groups of its model, on a real hub."""

from __future__ import annotations

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
        "training": {"rounds": 3, "batchSize": 4},
        "checkpoint": {"periodRounds": 2},
    }
    spec = run_harness.a_job(model, data, tmp_path / "store", "D2FT", settings, **sections)
    pods = Pods(tmp_path, spec.model_dump(mode="json", by_alias=True))
    yield pods
    for process in pods.started:
        process.kill()
        process.wait()


def test_a_pod_that_has_the_groups_of_its_model_runs_to_its_end(job: Pods, tmp_path: Path) -> None:
    job.hub()
    pod = job.peer(0, processes=2)
    assert exit_code(pod) == ExitCode.DONE, job.words("peer-0")
    assert "Traceback" not in job.words("peer-0")
    assert list((tmp_path / "store/job/adapters").rglob("adapter_model.safetensors"))
    assert len(job.closed("peer-0")) == 3
