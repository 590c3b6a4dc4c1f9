"""D2FT on a pod of two processes that have the groups of its model, on a real hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_pods import Pods, exit_code, pods_of
from run_harness import ON_TWO_LAYERS

from haversack_trainer.contract.exits import ExitCode

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Pods]:
    with pods_of(
        tmp_path,
        "D2FT",
        {"sharding": "Groups", **ON_TWO_LAYERS["D2FT"]},
        numPeers=1,
        minPeers=1,
        training={"rounds": 3, "batchSize": 4},
        checkpoint={"periodRounds": 2},
    ) as pods:
        yield pods


def test_a_pod_that_has_the_groups_of_its_model_runs_to_its_end(job: Pods, tmp_path: Path) -> None:
    job.hub()
    pod = job.peer(0, processes=2)
    assert exit_code(pod) == ExitCode.DONE, job.words("peer-0")
    assert "Traceback" not in job.words("peer-0")
    assert list((tmp_path / "store/job/adapters").rglob("adapter_model.safetensors"))
    assert len(job.closed("peer-0")) == 3
