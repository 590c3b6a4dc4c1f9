"""The log is the adapter: whole runs, replayed from their archive."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import run_harness
import torch
from run_harness import Crew, Memory, has_come_to
from safetensors.torch import load_file, save_file

from haversack_trainer.checkpoint import archive as archives
from haversack_trainer.checkpoint.replay import CannotReplay
from haversack_trainer.contract.schedule import ScheduleKind
from haversack_trainer.main.replay import Order, replay
from haversack_trainer.objects.file import FileStore

ROUNDS = 6
Crewed = Callable[..., Crew]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_data_file(tmp_path_factory.mktemp("data") / "train.jsonl")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_crew(folder: Path, model: Path, data: Path, method: str = "SPSA", **changes: Any) -> Crew:
    """Two peers of a new log; those of the same folder go on where the ones before stopped."""
    job = run_harness.a_job(model, data, folder / "store", method, numPeers=2, **changes)
    falling = {"learning_rate_schedule": ScheduleKind.COSINE}
    job = job.model_copy(update={"training": job.training.model_copy(update=falling)})
    crew = Crew(Memory(), job, folder)
    for peer in range(2):
        crew.add(peer)
    return crew


def stopped_at(crew: Crew, number: int) -> None:
    for peer in crew.peers.values():
        peer.stop = partial(has_come_to, peer, number)
    crew.run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Path, data: Path) -> Path:
    """Of a run that was stopped after round 3 and went on from there, with its first log's last round lost."""
    folder = tmp_path_factory.mktemp("run")
    stopped_at(a_crew(folder, model, data), 3)
    a_crew(folder, model, data).run()
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> str:
    """Address of a copy that may be spoilt."""
    subprocess.run(["cp", "-r", folder / "store" / "job", tmp_path / "job"], check=True)
    return f"file://{tmp_path}/job"


def replayed(run: str, **order: Any) -> tuple[str, list[str]]:
    said: list[str] = []
    return replay(Order(run, **order), {}, said.append), said


def refused(run: str, **order: Any) -> str:
    with pytest.raises(CannotReplay) as caught:
        replayed(run, **order)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one(run: str, pattern: str) -> Path:
    (path,) = Path(run.removeprefix("file://")).glob(pattern)
    return path


def test_a_resumed_run_is_made_again_from_its_logs(run: str, tmp_path: Path) -> None:
    digest, said = replayed(run, output=tmp_path / "again")
    assert said[-2] == f"the same adapter as was published after round {ROUNDS}: sha256 {digest}"
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    there = load_file(one(run, "adapters/*/adapter_model.safetensors"))
    assert again.keys() == there.keys()
    assert all(torch.equal(again[name], there[name]) for name in there)


def test_in_a_process_of_its_own_by_the_address_of_the_adapter(run: str, tmp_path: Path) -> None:
    address = one(run, "adapters/*")
    program = str(Path(sys.executable).with_name("haversack"))
    command = [program, "replay", f"file://{address}", "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the same adapter as was published" in done.stdout
    written = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert written == (address / "adapter_model.safetensors").read_bytes()


def test_each_round_is_one_the_run_was_in(run: str) -> None:
    digests = [replayed(run, to=number)[0] for number in range(ROUNDS + 1)]
    assert len(set(digests)) == ROUNDS + 1
    assert digests[ROUNDS] == replayed(run)[0]


def test_a_log_that_does_not_reach_the_round_is_refused(run: str) -> None:
    assert f"holds {ROUNDS} rounds, it does not reach round 7" in refused(run, to=7)


@pytest.mark.parametrize("at", [5, -5])
def test_one_flipped_bit_is_found(run: str, at: int) -> None:
    path = min(Path(run.removeprefix("file://")).glob("archive/*/*.log"))
    frames = bytearray(path.read_bytes())
    frames[at] ^= 4
    path.write_bytes(frames)
    assert "is damaged: its bytes are not those of the log" in refused(run)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(path.read_bytes()[:-7]), Path.unlink]
)
def test_a_truncated_log_is_found(run: str, spoil: Callable[[Path], object]) -> None:
    spoil(max(Path(run.removeprefix("file://")).glob("archive/*/*.log")))
    assert "log" in refused(run)


def test_a_changed_archive_is_found(run: str) -> None:
    path = one(run, "archive/*/*.json")
    path.write_text(path.read_text().replace('"epoch"', ' "epoch"'))
    assert "is not the archive that was published" in refused(run)


def test_another_base_model_is_refused(run: str, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", model, other], check=True)
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    assert "is another base model than the run's" in refused(run, base=f"file://{other}")


def test_a_method_whose_log_is_not_its_adapter_is_refused(
    tmp_path: Path, model: Path, data: Path
) -> None:
    training = {"rounds": 1, "batchSize": 4}
    a_crew(tmp_path, model, data, "DecLoRA", training=training).run()
    said = refused(f"file://{tmp_path}/store/job")
    assert "cannot be made from a log: DecLoRA exchanges more than its log holds" in said


def test_where_there_is_no_log_it_says_so(tmp_path: Path) -> None:
    assert "there is no log of a run at" in refused(f"file://{tmp_path}")


def test_a_run_that_is_not_over_is_replayed_as_far_as_its_archive(
    tmp_path: Path, model: Path, data: Path
) -> None:
    crew = a_crew(tmp_path, model, data)
    stopped_at(crew, 4)
    live = crew.peers[0].material.model.trainables_digest()
    digest, said = replayed(f"file://{tmp_path}/store/job")
    assert digest == live
    assert said[-1] == "nothing was published after this round to compare with"


def test_a_run_that_was_stopped_when_all_was_trained_is_published_with_its_log(
    tmp_path: Path, model: Path, data: Path
) -> None:
    waits = {"periodRounds": 3, "gate": {"tolerance": "10", "approval": "Manual"}}
    stopped_at(a_crew(tmp_path, model, data, evaluation=waits), ROUNDS)
    assert not (tmp_path / "store" / "job" / "adapters").exists()
    a_crew(tmp_path, model, data).run()
    assert f"published after round {ROUNDS}" in replayed(f"file://{tmp_path}/store/job")[1][-1]


def test_rounds_that_a_resumed_run_gave_up_are_not_replayed(
    tmp_path: Path, model: Path, data: Path
) -> None:
    """The first log reaches round 4, but its newest checkpoint is lost: the second begins at round 2."""
    stopped_at(a_crew(tmp_path, model, data), 4)
    store = tmp_path / "store" / "job"
    (newest,) = store.glob("checkpoints/*/0000000004-*/manifest.json")
    newest.unlink()
    resumed = a_crew(tmp_path, model, data)
    resumed.run()
    start = resumed.survivors[0].exchange.state.start
    assert start is not None
    assert start.round == 2
    assert replayed(f"file://{store}")[0] == resumed.peers[0].material.model.trainables_digest()


def test_the_archive_holds_one_manifest_and_what_it_names(run: str) -> None:
    store = FileStore(Path(run.removeprefix("file://")), run)
    found = archives.newest(store, run_harness.RUN)
    assert found is not None
    named = {segment.key for part in found.archive.logs for segment in part.segments}
    assert {info.key for info in store.list("archive/")} == {*named, found.ref.key}
