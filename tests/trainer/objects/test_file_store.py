"""A folder as a store, where the disk is full, locked or left by a process that died."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath

import pytest

from haversack_trainer.objects.base import Conflict, NotFound, Store, StoreError
from haversack_trainer.objects.file import FileStore
from haversack_trainer.objects.opening import open_store

HALF_WRITER = """
import sys, time
from pathlib import Path, PosixPath
from haversack_trainer.objects.landing import landing
with landing(Path(sys.argv[1]) / "key", scratch=Path(sys.argv[1]) / ".haversack") as file:
    file.write(b"half of it")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(f"file://{root}")


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """What a full disk is to a writer: the kernel takes a part of the bytes and refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_leaves_the_old_object_whole(store: Store, root: Path) -> None:
    store.put("key", b"old")
    with (
        files_of_at_most(100_000),
        pytest.raises(StoreError, match=r"no room left for .*key: free space"),
    ):
        store.put("key", b"new" * 100_000)
    assert store.get("key")[0] == b"old"
    assert store.abort_uploads(before=time.time() + 60) == 0
    store.put("key", b"new")


def test_a_full_disk_while_downloading_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.put("key", b"x" * 300_000)
    target = tmp_path / "cache" / "file"
    with (
        files_of_at_most(100_000),
        pytest.raises(StoreError, match=r"no room left for .*cache/file"),
    ):
        store.download("key", target)
    assert not list(target.parent.iterdir())


def test_an_object_is_not_there_before_it_is_whole(store: Store, root: Path) -> None:
    """A writer that is killed in the middle leaves a temporary file, which is swept away by age."""
    root.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HALF_WRITER, str(root)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
    assert store.head("key") is None
    assert list(store.list("")) == []
    assert store.abort_uploads(before=time.time() - 3600) == 0
    assert store.abort_uploads(before=time.time() + 60) == 1


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(StoreError, match=r"root.* cannot be used: (File exists|Not a directory)"):
        open_store(f"file://{tmp_path}/root").probe()


def test_a_key_below_an_object_is_not_found(store: Store) -> None:
    store.put("a", b"1")
    assert store.head("a/b") is None
    with pytest.raises(NotFound):
        store.get("a/b")


def test_versions_of_the_same_size_differ_in_their_etag(store: Store) -> None:
    etags = [store.put("key", b"%03d" % number).etag for number in range(50)]
    assert len(set(etags)) == 50


def test_conditions_hold_where_the_file_system_knows_no_hard_links(root: Path) -> None:
    class NoLinks(PosixPath):
        def hardlink_to(self, target: object) -> None:
            raise PermissionError(1, "Operation not permitted")

    store = FileStore(NoLinks(root))
    store.put("once", b"first", if_absent=True)
    with pytest.raises(Conflict):
        store.put("once", b"second", if_absent=True)
    assert store.get("once")[0] == b"first"


def test_deleting_leaves_no_empty_folder(store: Store, root: Path) -> None:
    store.put("a/b/c", b"1")
    store.put("a/d", b"2")
    store.delete("a/b/c")
    assert not (root / "a/b").exists()
    assert store.get("a/d")[0] == b"2"


def test_others_may_read_what_was_written(store: Store, root: Path) -> None:
    """Pods of one volume need not run as the same user."""
    before = os.umask(0o022)
    try:
        store.put("key", b"1")
    finally:
        os.umask(before)
    assert (root / "key").stat().st_mode & 0o777 == 0o644
