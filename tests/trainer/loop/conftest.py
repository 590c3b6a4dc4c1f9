from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import run_harness
import torch
from run_harness import Crew, Memory


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_data_file(tmp_path_factory.mktemp("data") / "train.jsonl")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def crew(model: Path, data: Path, tmp_path: Path) -> Callable[..., Crew]:
    """Makes crews of two over memory; ``changes`` replace sections of their job."""

    def make(method: str = "SPSA", *, peers: int = 2, **changes: Any) -> Crew:
        sections = {"numPeers": peers} | changes
        job = run_harness.a_job(model, data, tmp_path / "store", method, **sections)
        made = Crew(Memory(), job, tmp_path)
        for peer in range(peers):
            made.add(peer)
        return made

    return make
