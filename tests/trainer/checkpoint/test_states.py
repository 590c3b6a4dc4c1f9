"""A checkpoint is whole or it is not there, whatever happens to its writer or its bytes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checkpoint_cases import RUN, Failing, Unconditional, meta

from haversack_trainer.checkpoint.manifest import CheckpointError
from haversack_trainer.checkpoint.states import load, newest, prune, save
from haversack_trainer.objects.base import Damaged, NotFound, Store, StoreError
from haversack_trainer.objects.opening import open_store

FILES = {"adapter.safetensors": b"weights", "state-0.safetensors": b"momentum" * 100}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=[lambda store: store, Unconditional], ids=["conditional", "unconditional"])
def store(request: pytest.FixtureRequest, root: Path) -> Store:
    wrapped: Store = request.param(open_store(f"file://{root}"))
    return wrapped


def folders(store: Store) -> set[str]:
    return {info.key.rpartition("/")[0] for info in store.list("checkpoints/")}


def test_a_checkpoint_comes_back(store: Store) -> None:
    ref = save(store, 5, FILES, meta(loss=0.25))
    files, manifest = load(store, ref)
    assert files == FILES
    assert (manifest.round, manifest.meta) == (5, meta(loss=0.25))
    assert newest(store, RUN) == ref


def test_without_a_checkpoint_there_is_none(store: Store) -> None:
    assert newest(store, RUN) is None


def test_the_newest_is_that_of_the_highest_round(store: Store) -> None:
    refs = {round_: save(store, round_, FILES, meta()) for round_ in (5, 100, 20)}
    assert newest(store, RUN) == refs[100]


def test_each_run_has_its_own(store: Store) -> None:
    mine = save(store, 5, FILES, meta())
    save(store, 50, FILES, meta(run="team.triage.ffffffff"))
    assert newest(store, RUN) == mine


def test_figures_that_are_not_finite_are_kept(store: Store) -> None:
    ref = save(store, 5, FILES, meta(loss=float("inf")))
    assert load(store, ref)[1].meta.metrics == {"loss": float("inf")}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [cut, flip, remove])
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_harmed_checkpoint_is_passed_over(
    store: Store, root: Path, harm: Callable[[Path], None], name: str
) -> None:
    whole = save(store, 5, FILES, meta())
    harmed = save(store, 10, FILES, meta())
    harm((root / harmed.key).with_name(name))
    assert newest(store, RUN) == whole
    with pytest.raises((Damaged, NotFound)):
        load(store, harmed)


@pytest.mark.parametrize("writes", range(4))
def test_a_writer_that_dies_leaves_the_last_whole_one(store: Store, writes: int) -> None:
    store.probe()
    before = save(store, 5, FILES, meta())
    with pytest.raises(StoreError, match="went away"):
        save(Failing(store, min(writes, 2)), 10, FILES, meta())
    assert newest(store, RUN) == before
    again = save(store, 10, FILES, meta())
    assert newest(store, RUN) == again


def test_two_leaders_may_write_the_same_round(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        refs = set(pool.map(lambda _: save(store, 5, FILES, meta()), range(4)))
    assert len(refs) == 1
    assert newest(store, RUN) == refs.pop()


def test_two_leaders_that_differ_write_two_whole_ones(store: Store) -> None:
    one = save(store, 5, FILES, meta())
    two = save(store, 5, {"adapter.safetensors": b"others"}, meta())
    assert one.key != two.key
    assert load(store, one)[0] == FILES
    assert newest(store, RUN) == two


@pytest.mark.parametrize("first", [b"a", b"b", b"c", b"d"])
def test_of_one_round_the_one_that_was_written_last_counts(store: Store, first: bytes) -> None:
    save(store, 5, {"adapter.safetensors": first}, meta())
    last = save(store, 5, {"adapter.safetensors": b"last"}, meta())
    assert newest(store, RUN) == last


def test_a_round_of_the_past_can_be_asked_for(store: Store) -> None:
    refs = [save(store, round_, FILES, meta()) for round_ in (5, 10)]
    assert newest(store, RUN, 5) == refs[0]
    assert newest(store, RUN, 7) is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_that_are_no_plain_file_are_refused(store: Store, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be a file of a checkpoint"):
        save(store, 5, {name: b""}, meta())


def test_a_manifest_cannot_name_a_file_elsewhere(store: Store, root: Path) -> None:
    ref = save(store, 5, FILES, meta())
    path = root / ref.key
    path.write_text(path.read_text().replace("state-0.safetensors", "../../../etc/passwd"))
    assert newest(store, RUN) is None


def test_pruning_keeps_the_newest(store: Store) -> None:
    refs = [save(store, round_, FILES, meta()) for round_ in (5, 10, 15, 20)]
    assert prune(store, RUN, keep=2, upto=20) == 2
    assert newest(store, RUN) == refs[3]
    assert load(store, refs[2])[0] == FILES
    assert folders(store) == {ref.key.rpartition("/")[0] for ref in refs[2:]}


def test_pruning_keeps_what_was_just_written_below_later_ones(store: Store) -> None:
    later = [save(store, round_, FILES, meta()) for round_ in (20, 25)]
    old = save(store, 5, FILES, meta())
    mine = save(store, 10, FILES, meta())
    assert prune(store, RUN, keep=1, upto=10) == 1
    assert old.key.rpartition("/")[0] not in folders(store)
    assert load(store, mine)[0] == load(store, later[0])[0] == FILES


def test_pruning_does_not_count_torn_ones(store: Store, root: Path) -> None:
    whole = save(store, 5, FILES, meta())
    save(store, 3, FILES, meta())
    torn = save(store, 10, FILES, meta())
    cut((root / torn.key).with_name("state-0.safetensors"))
    assert prune(store, RUN, keep=1, upto=10) == 1
    assert newest(store, RUN) == whole


@pytest.mark.parametrize("writes", range(3))
def test_a_pruner_that_dies_harms_none_that_counts(store: Store, writes: int) -> None:
    save(store, 5, FILES, meta())
    kept = save(store, 10, FILES, meta())
    with pytest.raises(StoreError, match="went away"):
        prune(Failing(store, writes), RUN, keep=1, upto=10)
    assert newest(store, RUN) == kept
    prune(store, RUN, keep=1, upto=10)
    assert {info.key.rpartition("/")[0] for info in store.list("")} == {kept.key.rpartition("/")[0]}
