"""What fits on this machine is what placement would say."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_harness
import torch

from haversack_trainer.config import PeerConfig
from haversack_trainer.contract.weights import weights_of
from haversack_trainer.main.machine import memory_bytes
from haversack_trainer.main.room import room_for

FOOTPRINT = {"parameters": 22_700_000, "hiddenSize": 384, "numLayers": 6}


def a_config(folder: Path, footprint: dict[str, int] | None = FOOTPRINT) -> PeerConfig:
    job = run_harness.a_job(folder, folder / "data", folder / "store", "DropPEFT")
    model = job.model.model_dump() | {"footprint": footprint}
    changed = job.model_copy(update={"model": type(job.model).model_validate(model)})
    return run_harness.peer_config(changed, 0, folder)


@pytest.mark.parametrize("active", [1, 3, 6])
def test_a_step_fits_if_the_card_says_so(tmp_path: Path, active: int) -> None:
    config = a_config(tmp_path)
    footprint = config.job.model.footprint
    assert footprint is not None
    peak = config.card.memory.peak_bytes(
        footprint,
        weights_of(footprint, config.job.adapter),
        max_length=16,
        micro_batch=3,
        on_device=False,
        active_layers=active,
    )
    (tmp_path / "memory.max").write_text(f"{peak}\n")
    fits = room_for(config, torch.device("cpu"), tmp_path)
    assert [fits(count) for count in range(1, 7)] == [count <= active for count in range(1, 7)]


def test_without_the_models_size_everything_does(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1\n")
    assert room_for(a_config(tmp_path, None), torch.device("cpu"), tmp_path)(1000)


@pytest.mark.parametrize(
    ("name", "text", "limited"),
    [
        ("memory.max", "max", False),
        ("memory.max", "1048576", True),
        ("memory/memory.limit_in_bytes", "1048576", True),
        ("memory/memory.limit_in_bytes", "9223372036854771712", False),
        ("elsewhere", "1048576", False),
    ],
)
def test_memory_is_what_the_control_group_leaves(
    tmp_path: Path, name: str, text: str, limited: bool
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / name).write_text(text + "\n")
    assert (memory_bytes(tmp_path) == 1048576) is limited
    assert memory_bytes(tmp_path) <= memory_bytes(tmp_path / "nowhere")
