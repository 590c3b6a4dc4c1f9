"""What every store owes its users, whatever is behind it: a folder, versitygw, moto."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3server import moto, versitygw

from haversack_trainer.contract.spec import S3Spec
from haversack_trainer.objects.base import Conflict, Damaged, NotFound, Store, StoreError
from haversack_trainer.objects.opening import open_store

BIG = b"0123456789abcdef" * (17 << 16)  # 17 MiB: three parts
KINDS = ["file", "moto", "versitygw"]


@pytest.fixture(scope="module", params=KINDS)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "file":
        yield open_store(f"file://{folder}/root")
        return
    with versitygw(folder) if request.param == "versitygw" else moto() as server:
        yield open_store(f"s3://{server.bucket}/some/prefix", server.spec, server.environ)


@pytest.fixture
def store(opened: Store) -> Iterator[Store]:
    yield opened
    for info in list(opened.list("")):
        opened.delete(info.key)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_put_can_be_got(store: Store) -> None:
    info = store.put("a/b.txt", b"hello")
    data, seen = store.get("a/b.txt")
    assert (data, seen.etag) == (b"hello", info.etag)
    assert store.head("a/b.txt") == seen
    assert (info.key, info.size_bytes) == ("a/b.txt", 5)
    # Two clocks of one store, of which S3's have a resolution of a second.
    assert info.modified == pytest.approx(seen.modified, abs=2)


def test_an_empty_object_can_be_put_and_downloaded(store: Store, tmp_path: Path) -> None:
    store.put("empty", b"")
    assert store.download("empty", tmp_path / "empty") == digest(b"")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_missing_object_is_not_found(store: Store, tmp_path: Path) -> None:
    assert store.head("nothing") is None
    with pytest.raises(NotFound, match="there is no object nothing"):
        store.get("nothing")
    with pytest.raises(NotFound):
        store.download("nothing", tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_deleting_is_done_when_it_is_gone(store: Store) -> None:
    store.put("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert store.head("a/b") is None


def test_objects_are_listed_in_order_of_their_keys(store: Store) -> None:
    keys = ["a/1", "a/10", "a/2", "ab", "b/c/d"]
    for key in reversed(keys):
        store.put(key, b"x")
    assert [info.key for info in store.list("")] == keys
    assert [info.key for info in store.list("a/")] == ["a/1", "a/10", "a/2"]
    assert [info.key for info in store.list("a/1")] == ["a/1", "a/10"]
    assert list(store.list("none/")) == []


def test_if_absent_writes_only_where_nothing_is(store: Store) -> None:
    store.put("once", b"first", if_absent=True)
    with pytest.raises(Conflict):
        store.put("once", b"second", if_absent=True)
    assert store.get("once")[0] == b"first"


def test_if_match_writes_only_over_what_was_read(store: Store) -> None:
    old = store.put("pointer", b"1")
    new = store.put("pointer", b"2", if_match=old.etag)
    with pytest.raises(Conflict):
        store.put("pointer", b"3", if_match=old.etag)
    data, seen = store.get("pointer")
    assert (data, seen.etag) == (b"2", new.etag)


def test_of_racing_writers_exactly_one_wins(store: Store) -> None:
    def race(number: int) -> bool:
        try:
            store.put("race", f"{number}".encode(), if_absent=True)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert store.get("race")[0] == f"{won.index(True)}".encode()


def test_no_update_is_lost_when_all_swap(store: Store) -> None:
    store.put("count", b"0")

    def increment(_: int) -> None:
        while True:
            body, info = store.get("count")
            try:
                store.put("count", b"%d" % (int(body) + 1), if_match=info.etag)
            except Conflict:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(12)))
    assert store.get("count")[0] == b"12"


def test_a_folder_may_come_and_go_under_its_writers(store: Store) -> None:
    """Stores over a file system remove a folder with its last object, whoever is about to write."""

    def write_and_delete(number: int) -> None:
        for _ in range(40):
            store.put(f"shared/folder/{number}", b"value")
            store.delete(f"shared/folder/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_and_delete, range(8)))
    assert list(store.list("shared/")) == []


@pytest.mark.parametrize("data", [b"small", BIG], ids=["one part", "many parts"])
def test_a_file_goes_there_and_back(store: Store, tmp_path: Path, data: bytes) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(data)
    info = store.put_file("folder/file.bin", source, digest(data))
    assert info.size_bytes == len(data)
    assert store.download("folder/file.bin", target, digest(data)) == digest(data)
    assert target.read_bytes() == data


def test_large_bytes_go_there_in_parts(store: Store) -> None:
    store.put("big", BIG)
    assert store.get("big")[0] == BIG


@pytest.mark.parametrize("data", [b"small", BIG], ids=["one part", "many parts"])
def test_a_file_that_changed_is_not_uploaded(store: Store, tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    with pytest.raises(Damaged):
        store.put_file("changed", source, digest(b"as it was before"))
    assert store.head("changed") is None
    assert store.abort_uploads(before=1e12) == 0


def test_a_download_with_another_hash_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.put("object", b"these")
    with pytest.raises(Damaged, match="has sha256"):
        store.download("object", tmp_path / "file", digest(b"those"))
    assert not list(tmp_path.iterdir())


def test_the_probe_finds_conditional_writes_and_leaves_nothing(store: Store) -> None:
    assert store.probe()
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\nb", "a\\b", ".haversack/x", "x" * 901],
)
def test_keys_that_mean_different_things_in_folders_are_refused(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="is no key"):
        store.put(key, b"x")


@pytest.mark.parametrize("uri", ["", "s3://", "ftp://host/x", "file://relative", "pvc://", "/path"])
def test_an_address_that_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match="is no store: use s3://bucket/prefix"):
        open_store(uri, S3Spec(), {})


def test_a_claim_that_is_not_mounted_is_refused() -> None:
    with pytest.raises(StoreError, match="the claim 'models' is not mounted"):
        open_store("pvc://models/job")
