"""Whole runs of Dec-LoRA with options whose rounds hang on one another, over a real hub: loop, log, blobs, store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import run_harness
import torch
from run_harness import TRANSPORTS, Crew, Killed
from torch import Tensor

from haversack_trainer.contract.jobfile import MethodChoice

OPTIONS: dict[str, dict[str, Any]] = {
    "Int4 in changes, ADF": {"codec": "Int4", "mixer": "ADF"},
    "Auto on measured links": {
        "mixer": "Auto",
        "biasPercent": 1,
        "graph": "MeasuredLinks",
        "codec": "Int8",
    },
    "DeCAF by samples": {"mixer": "DeCAF", "weights": "Samples", "graph": "Complete"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_data_file(tmp_path_factory.mktemp("data") / "train.jsonl")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_a_peer_is_killed_and_the_others_publish_one_adapter(
    options: dict[str, Any], model: Path, data: Path, tmp_path: Path
) -> None:
    method = MethodChoice(type="DecLoRA", settings={"localSteps": 2, **options})
    with ExitStack() as stack:
        folder = tmp_path / "hub"
        folder.mkdir()
        transport = stack.enter_context(TRANSPORTS["http"](folder))
        usual = run_harness.a_job(model, data, tmp_path / "store", "DecLoRA")
        job = usual.model_copy(update={"method": method})
        crew = Crew(transport, job, tmp_path)
        for number in range(3):
            crew.add(number)
        victim = crew.peers[2]

        def power_cut() -> bool:
            if victim.round >= 2:
                raise Killed
            return False

        victim.stop = power_cut
        crew.run()
        survivors = crew.survivors
        assert len(survivors) == 2
        state = survivors[0].exchange.state
        assert [closed.members for closed in state.closed] == [(0, 1, 2)] * 2 + [(0, 1)] * 4
        assert state.publication is not None
        assert state.evaluation is not None
        made = [peer.consensus() for peer in survivors]
    assert equal(*made)
    assert all(torch.isfinite(tensor).all() for tensor in made[0].values())
    if options.get("codec") == "Int4":
        # The adapter was made of all six rounds' blobs, of which a hub keeps three for others.
        assert [payload.aux for payload in state.closed[-1].payloads] == [5, 5]
