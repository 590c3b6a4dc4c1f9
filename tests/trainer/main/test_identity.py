"""A peer that would spoil the run is turned away when it joins, by what it has and not by what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_harness
from safetensors.torch import load_file, save_file

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.membership import Identity, Join
from haversack_trainer.exchange.base import Refused
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
from haversack_trainer.main.material import prepare

ROUNDS = 6


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> JobFile:
    model = run_harness.a_model(tmp_path_factory.mktemp("model"))
    folder = tmp_path_factory.mktemp("data")
    data = run_harness.a_data_file(folder / "train.jsonl")
    return run_harness.a_job(model, data, folder / "store", "SPSA")


@pytest.fixture(scope="module")
def ours(job: JobFile, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity_of(job, tmp_path_factory.mktemp("work"))


def identity_of(job: JobFile, work: Path) -> Identity:
    return prepare(run_harness.peer_config(job, 1, work), {}).identity


def other_rank(job: JobFile, _: Path) -> dict[str, Any]:
    return {"adapter": {"lora": {"rank": 4}}}


def other_seed(job: JobFile, _: Path) -> dict[str, Any]:
    return {"training": {"rounds": ROUNDS, "batchSize": 4, "seed": 18}}


def other_base(job: JobFile, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    for path in Path(job.model.uri.removeprefix("file://")).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name][0, 0] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    return {"model": {"uri": f"file://{folder}", "task": "SequenceClassification"}}


def other_data(job: JobFile, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    data = Path(job.dataset.uri.removeprefix("file://")).read_text()
    (folder / "train.jsonl").write_text(data.replace("a", "b", 1))
    return {"dataset": {"uri": f"file://{folder}/train.jsonl", "maxLength": 16}}


def other_settings(job: JobFile, _: Path) -> dict[str, Any]:
    return {"method": {"type": "SPSA", "settings": {"directions": 5}}}


def falling_rate(job: JobFile, _: Path) -> dict[str, Any]:
    training = job.training.model_dump(mode="json", by_alias=True)
    return {"training": training | {"learningRateSchedule": "Cosine"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (other_rank, "adapter"),
        (other_seed, "trainables"),
        (other_base, "base model"),
        (other_settings, "method"),
        (falling_rate, "method"),
        (other_data, "data"),
    ],
)
def test_a_peer_is_refused_by_the_field_that_differs(
    job: JobFile,
    ours: Identity,
    tmp_path: Path,
    change: Callable[[JobFile, Path], dict[str, Any]],
    field: str,
) -> None:
    values = job.model_dump(mode="json", by_alias=True) | change(job, tmp_path / "other")
    theirs = identity_of(JobFile.model_validate(values), tmp_path)
    log = MemoryLog()
    MemoryExchange(log, 0).join(Join(identity=ours, incarnation="a"))
    with pytest.raises(Refused, match=f"peer 1 differs from this run in {field}: it has"):
        MemoryExchange(log, 1).join(Join(identity=theirs, incarnation="b"))


def test_the_same_job_gives_the_same_identity_every_time(
    job: JobFile, ours: Identity, tmp_path: Path
) -> None:
    assert identity_of(job, tmp_path) == ours
