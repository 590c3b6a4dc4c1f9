"""Peers that are pods of two processes each, as the operator starts them, on a real hub."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_pods import Pods, exit_code, pods_of

from haversack_trainer.contract.exits import ExitCode

pytestmark = pytest.mark.timeout(600)
SHARDED = {"sharding": "FSDP2", "checksumEvery": 1}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Pods]:
    with pods_of(
        tmp_path,
        "FlexDeMo",
        SHARDED,
        numPeers=2,
        minPeers=1,
        heartbeatTimeoutSeconds=5,
        reportPeriodSeconds=1,
        training={"rounds": 100_000, "batchSize": 5},
        checkpoint={"periodRounds": 100_000},
        evaluation={"periodRounds": 4, "gate": {"tolerance": "10"}},
    ) as pods:
        yield pods


def children(pid: int) -> list[int]:
    """In the order in which they were started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sorted(int(child) for child in text.split())


def test_a_pod_falls_and_the_other_goes_on_saves_and_finishes(job: Pods, tmp_path: Path) -> None:
    hub = job.hub()
    staying, falling = job.peer(0, processes=2), job.peer(1, processes=2)
    job.wait_for_round("peer-0", 3)
    first, follower = children(falling.pid)
    os.kill(follower, signal.SIGKILL)
    assert exit_code(falling) == ExitCode.CRASHED
    last = job.words("peer-1").splitlines()[-1]
    assert last.endswith("was ended by signal 9, so that all of them ended")
    assert not Path(f"/proc/{first}").exists()

    job.wait_for_round("peer-0", job.closed("peer-0")[-1]["round"] + 3)
    staying.send_signal(signal.SIGTERM)
    assert exit_code(staying) == ExitCode.PREEMPTED
    assert "Traceback" not in job.words("peer-0")
    kept = list((tmp_path / "store/job").rglob("method.safetensors"))
    assert kept, "a pod keeps what its processes have left to send"

    hub.send_signal(signal.SIGTERM)
    assert exit_code(hub) == ExitCode.DONE
    done = job.closed("peer-0")[-1]["round"]
    job.started.clear()
    job.job["training"]["rounds"] = done + 3
    job.job["gangTimeoutSeconds"] = 1
    job.hub("hub-again")
    again = job.peer(0, "again-0", processes=2)
    assert exit_code(again) == ExitCode.DONE, job.words("again-0")
    assert job.closed("again-0")[0]["round"] == done + 1
    store = tmp_path / "store/job"
    folder = (store / json.loads((store / "latest.json").read_text())["manifest"]).parent
    assert (folder / "adapter_model.safetensors").stat().st_size > 0
