"""An adapter is published once, whole, by whoever; readers follow the pointer and check every byte."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checkpoint_cases import Failing, Unconditional, a_verdict, an_adapter, meta

from haversack_trainer.checkpoint.adapters import latest_adapter, publish_adapter
from haversack_trainer.checkpoint.manifest import CheckpointError
from haversack_trainer.checkpoint.sweep import sweep
from haversack_trainer.objects.base import Damaged, Store, StoreError
from haversack_trainer.objects.opening import open_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=[lambda store: store, Unconditional], ids=["conditional", "unconditional"])
def store(request: pytest.FixtureRequest, root: Path) -> Store:
    wrapped: Store = request.param(open_store(f"file://{root}"))
    return wrapped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return an_adapter(tmp_path / "adapter")


def test_a_published_adapter_can_be_fetched(store: Store, folder: Path, tmp_path: Path) -> None:
    published = publish_adapter(store, folder, a_verdict(), meta())
    assert published.uri.startswith(f"{store.uri}/adapters/0000000040-")
    assert (published.round, published.size_bytes) == (40, 9)
    found = latest_adapter(store, tmp_path / "cache")
    assert found is not None
    path, manifest = found
    assert {file.name for file in path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    }
    assert (path / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (manifest.verdict, manifest.meta) == (a_verdict(), meta())


def test_before_the_first_there_is_none(store: Store, tmp_path: Path) -> None:
    assert latest_adapter(store, tmp_path / "cache") is None


def test_fetching_again_mends_the_copy(store: Store, folder: Path, tmp_path: Path) -> None:
    publish_adapter(store, folder, a_verdict(), meta())
    for _ in range(2):
        found = latest_adapter(store, tmp_path / "cache")
        assert found is not None
        assert (found[0] / "adapter_model.safetensors").read_bytes() == b"weights"
        (found[0] / "adapter_model.safetensors").write_bytes(b"spoilt")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_failed_its_gate_is_not_published(store: Store, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="did not pass its gate"):
        publish_adapter(store, folder, a_verdict(passed=False), meta())
    assert list(store.list("")) == []


def test_racing_leaders_publish_one_adapter(store: Store, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        published = set(
            pool.map(lambda _: publish_adapter(store, folder, a_verdict(), meta()), range(4))
        )
    assert len(published) == 1
    assert (
        len([info for info in store.list("adapters/") if info.key.endswith("manifest.json")]) == 1
    )


def test_the_first_manifest_counts_even_if_figures_differ(store: Store, folder: Path) -> None:
    first = publish_adapter(store, folder, a_verdict(), meta(seconds=1.0))
    assert publish_adapter(store, folder, a_verdict(), meta(seconds=2.0)) == first


@pytest.mark.parametrize("writes", range(4))
def test_a_leader_that_dies_is_finished_by_the_next(
    store: Store, folder: Path, tmp_path: Path, writes: int
) -> None:
    store.probe()
    with pytest.raises(StoreError, match="went away"):
        publish_adapter(Failing(store, writes), folder, a_verdict(), meta())
    assert latest_adapter(store, tmp_path / "cache") is None
    publish_adapter(store, folder, a_verdict(), meta())
    assert latest_adapter(store, tmp_path / "cache") is not None


def test_the_pointer_does_not_go_back_within_a_run(store: Store, tmp_path: Path) -> None:
    publish_adapter(store, an_adapter(tmp_path / "new", b"new"), a_verdict(40), meta())
    publish_adapter(store, an_adapter(tmp_path / "old", b"old"), a_verdict(30), meta())
    found = latest_adapter(store, tmp_path / "cache")
    assert found is not None
    assert found[1].round == 40


def test_a_later_run_takes_the_pointer(store: Store, tmp_path: Path) -> None:
    publish_adapter(store, an_adapter(tmp_path / "old", b"old"), a_verdict(40), meta())
    publish_adapter(
        store, an_adapter(tmp_path / "new", b"new"), a_verdict(10), meta(run="team.triage.ffffffff")
    )
    found = latest_adapter(store, tmp_path / "cache")
    assert found is not None
    assert (found[1].round, found[1].meta.run) == (10, "team.triage.ffffffff")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "manifest.json"])
def test_a_changed_byte_is_found(
    store: Store, folder: Path, root: Path, tmp_path: Path, name: str
) -> None:
    publish_adapter(store, folder, a_verdict(), meta())
    (path,) = root.glob(f"adapters/*/{name}")
    path.write_bytes(
        path.read_bytes().replace(b"weights", b"Weights").replace(b"hf://org", b"hf://ogr")
    )
    with pytest.raises(Damaged):
        latest_adapter(store, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_a_pointer_elsewhere_is_refused(
    store: Store, folder: Path, root: Path, tmp_path: Path
) -> None:
    publish_adapter(store, folder, a_verdict(), meta())
    pointer = root / "latest.json"
    pointer.write_text(pointer.read_text().replace("adapters/", "checkpoints/"))
    with pytest.raises(Damaged, match=r"latest\.json in .* is damaged"):
        latest_adapter(store, tmp_path / "cache")


def test_an_empty_folder_is_no_adapter(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no adapter"):
        publish_adapter(store, tmp_path / "none", a_verdict(), meta())


def test_folders_in_an_adapter_are_refused(store: Store, folder: Path) -> None:
    (folder / "extra").mkdir()
    with pytest.raises(CheckpointError, match="holds extra, which is no file"):
        publish_adapter(store, folder, a_verdict(), meta())


def test_leftovers_are_swept_by_age_and_whole_ones_stay(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    publish_adapter(store, folder, a_verdict(), meta())
    whole = {info.key for info in store.list("")}
    with pytest.raises(StoreError):
        publish_adapter(
            Failing(store, 1), an_adapter(tmp_path / "other", b"x"), a_verdict(50), meta()
        )
    assert sweep(store) == 0
    assert sweep(store, older_than_seconds=-60) == 1
    assert {info.key for info in store.list("")} == whole
