"""SPSA on a pod of two processes that share the frozen weights out, beside a pod of one, on a real hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_pods import Pods, exit_code, pods_of

from haversack_trainer.contract.exits import ExitCode
from haversack_trainer.main.replay import Order, replay

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Pods]:
    settings = {"sharding": "ZeRO3", "directions": 2, "learningRate": "0.01", "momentum": "0.5"}
    with pods_of(
        tmp_path,
        "SPSA",
        settings,
        numPeers=2,
        minPeers=2,
        training={"rounds": 3, "batchSize": 5},
        checkpoint={"periodRounds": 2},
    ) as pods:
        yield pods


def test_pods_of_other_sizes_agree_and_their_log_is_the_adapter(job: Pods, tmp_path: Path) -> None:
    job.hub()
    peers = [job.peer(number, processes=2 - number) for number in range(2)]
    assert [exit_code(peer) for peer in peers] == [ExitCode.DONE] * 2, job.words("peer-0")
    store = tmp_path / "store/job"
    assert list(store.rglob("common.safetensors")), "the velocity, once for all peers"
    assert not list(store.rglob("method.safetensors"))
    said: list[str] = []
    replay(Order(f"file://{store}"), {}, said.append)
    assert said[-1].startswith("the same adapter as was published after round 3")
