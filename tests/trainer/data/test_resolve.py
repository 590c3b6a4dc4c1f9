"""Addresses to local paths: downloaded once, kept whole, refused in words."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from haversack_trainer.data import DataError, NoSpace, resolve
from haversack_trainer.data.hub import Snapshot
from haversack_trainer.objects.base import NotFound, ObjectInfo, StoreError


@dataclass(frozen=True)
class Bucket:
    """A store over a dictionary of whole addresses; every download leaves a mark in a folder."""

    uri: str
    contents: dict[str, bytes]
    marks: Path
    sizes: dict[str, int]
    fails_at: str = ""

    def _info(self, address: str) -> ObjectInfo:
        data = self.contents[address]
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        key = address.removeprefix(self.uri).lstrip("/")
        return ObjectInfo(key, self.sizes.get(key, len(data)), etag, modified=0.0)

    def head(self, key: str) -> ObjectInfo | None:
        address = f"{self.uri}/{key}"
        return self._info(address) if address in self.contents else None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = f"{self.uri}/{prefix}"
        return (self._info(a) for a in sorted(self.contents) if a.startswith(start))

    def download(self, key: str, path: Path, sha256: str | None = None) -> str:
        if key == self.fails_at:
            raise StoreError("the endpoint does not answer; correct storage.s3.endpoint")
        data = self.contents.get(f"{self.uri}/{key}")
        if data is None:
            raise NotFound(key)
        (self.marks / f"{time.monotonic_ns()}-{key.replace('/', '_')}").touch()
        time.sleep(0.05)  # long enough that two processes meet
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()


class Cloud:
    """Opens buckets, as ``open_store`` does."""

    def __init__(self, marks: Path, **contents: bytes) -> None:
        self.marks, self.sizes, self.fails_at = marks, dict[str, int](), ""
        marks.mkdir(exist_ok=True)
        self.contents = {f"s3://bucket/{name}": data for name, data in contents.items()}

    def __call__(self, uri: str) -> Any:
        return Bucket(uri, self.contents, self.marks, self.sizes, self.fails_at)

    @property
    def downloads(self) -> list[str]:
        return [mark.name.partition("-")[2] for mark in sorted(self.marks.iterdir())]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(
        tmp_path / "marks",
        **{
            "models/m/config.json": b"{}",
            "models/m/model.safetensors": b"weights",
            "models/m/pytorch_model.bin": b"weights again",
            "models/m/onnx/model.onnx": b"and again",
            "models/m2/config.json": b"another",
            "train.jsonl": b"rows",
        },
    )


def no_store(uri: str) -> Any:
    pytest.fail(f"{uri} was opened")


def found(uri: str, tmp_path: Path, cloud: Any = no_store, **options: Any) -> Path:
    return resolve(uri, cache_dir=tmp_path / "cache", open_store=cloud, **options)


def test_a_local_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "with space.jsonl"
    file.touch()
    assert found(f"file://{tmp_path}/with%20space.jsonl", tmp_path) == file


def test_an_object_and_a_folder_of_objects_are_downloaded_once(
    tmp_path: Path, cloud: Cloud
) -> None:
    for _ in range(2):
        assert found("s3://bucket/train.jsonl", tmp_path, cloud).read_bytes() == b"rows"
        model = found("s3://bucket/models/m/", tmp_path, cloud)
        assert sorted(file.name for file in model.iterdir()) == ["config.json", "model.safetensors"]
        assert (model / "model.safetensors").read_bytes() == b"weights"
    assert len(cloud.downloads) == 3


def test_a_changed_object_is_downloaded_again(tmp_path: Path, cloud: Cloud) -> None:
    found("s3://bucket/train.jsonl", tmp_path, cloud)
    cloud.contents["s3://bucket/train.jsonl"] = b"others"
    assert found("s3://bucket/train.jsonl", tmp_path, cloud).read_bytes() == b"others"


def test_a_whole_bucket_is_a_folder(tmp_path: Path, cloud: Cloud) -> None:
    folder = found("s3://bucket", tmp_path, cloud)
    assert (folder / "models/m2/config.json").read_bytes() == b"another"


def test_peers_that_start_together_download_once(tmp_path: Path, cloud: Cloud) -> None:
    """The lock belongs to the open file, so threads meet at it as processes do."""
    with ThreadPoolExecutor(4) as peers:
        asked = [peers.submit(found, "s3://bucket/models/m", tmp_path, cloud) for _ in range(4)]
    assert len({answer.result() for answer in asked}) == 1
    assert len(cloud.downloads) == 2


def test_what_was_whole_before_a_failure_is_kept(tmp_path: Path, cloud: Cloud) -> None:
    cloud.fails_at = "m/model.safetensors"
    with pytest.raises(DataError, match=r"s3://bucket/models/m cannot be read: .*s3.endpoint"):
        found("s3://bucket/models/m", tmp_path, cloud)
    cloud.fails_at = ""
    found("s3://bucket/models/m", tmp_path, cloud)
    assert cloud.downloads == ["m_config.json", "m_model.safetensors"]


def test_a_disk_that_is_too_small_is_seen_before_the_download(tmp_path: Path, cloud: Cloud) -> None:
    cloud.sizes["train.jsonl"] = 2**60
    with pytest.raises(NoSpace, match="MiB are free; give the cache a larger volume"):
        found("s3://bucket/train.jsonl", tmp_path, cloud)
    assert cloud.downloads == []


@pytest.mark.parametrize("key", ["../../evil", "a\\b", "sub/../../evil"])
def test_a_hostile_key_writes_nothing(tmp_path: Path, key: str) -> None:
    cloud = Cloud(tmp_path / "marks", **{f"models/x/{key}": b"evil"})
    with pytest.raises(DataError, match="is no file name"):
        found("s3://bucket/models/x", tmp_path, cloud)
    assert cloud.downloads == []


@dataclass(frozen=True)
class PlannedFile:
    file_size: int
    will_download: bool


def hub(folder: Path, size: int = 1, error: Exception | None = None) -> Snapshot:
    def snapshot(name: str, dry_run: bool = False, **asked: Any) -> Any:
        if error is not None:
            raise error
        if dry_run:
            return [PlannedFile(size, True), PlannedFile(2**60, False)]
        place = folder / asked["repo_type"] / name / (asked["revision"] or "main")
        (place / "part").mkdir(parents=True, exist_ok=True)
        return str(place)

    return snapshot


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("hf://owner/name", "model/owner/name/v1"),
        ("hf://datasets/owner/name/part", "dataset/owner/name/v1/part"),
    ],
)
def test_a_hub_name_is_a_snapshot_of_its_revision(tmp_path: Path, uri: str, place: str) -> None:
    path = found(uri, tmp_path, revision="v1", snapshot=hub(tmp_path / "hub"))
    assert path == tmp_path / "hub" / place


def test_what_the_hub_cannot_give_is_said(tmp_path: Path) -> None:
    from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

    for error in (LocalEntryNotFoundError("no\nnet"), DryRunError("no access"), OSError("disk")):
        with pytest.raises(DataError, match=r"hf://o/n cannot be fetched .*HF_TOKEN") as caught:
            found("hf://o/n", tmp_path, snapshot=hub(tmp_path, error=error))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="larger volume"):
        found("hf://o/n", tmp_path, snapshot=hub(tmp_path, size=2**60))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///no/such/file.jsonl", "there is nothing at /no/such/file.jsonl"),
        ("file://data/train.jsonl", "write file:///data/train.jsonl"),
        ("pvc://claim/data", "there is nothing at /mnt/haversack/claim/data"),
        ("pvc://claim/../../etc/passwd", "below the claim"),
        ("pvc:///etc", "below the claim"),
        ("hf://name", "must be hf://owner/name"),
        ("hf://datasets/name", "must be hf://owner/name"),
        ("s3://bucket/nothing", "no object has this key or prefix"),
        ("s3://bucket/models/m/onnx", "no object has this key or prefix"),
        ("ftp://host/file", "no known scheme"),
    ],
)
def test_an_address_that_leads_nowhere_is_named(
    tmp_path: Path, cloud: Cloud, uri: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        found(uri, tmp_path, cloud)
    assert uri in str(caught.value)
