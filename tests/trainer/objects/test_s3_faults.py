"""S3 under bad networks, busy servers and wrong settings."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3cases import Waiter, through
from s3faults import Fault, FaultProxy
from s3server import S3Server

from haversack_trainer.objects.base import Away, Conflict, Damaged, StoreError
from haversack_trainer.objects.patience import Patience
from haversack_trainer.objects.s3 import S3Store

DATA = bytes(range(256)) * (20 << 12)  # 20 MiB


def a_file(folder: Path) -> tuple[Path, str]:
    path = folder / "source"
    path.write_bytes(DATA)
    return path, hashlib.sha256(DATA).hexdigest()


def uploads_left(server: S3Server) -> int:
    return len(server.client().list_multipart_uploads(Bucket=server.bucket).get("Uploads", ()))


@pytest.mark.parametrize(
    "fault", [Fault.SLOW_DOWN, Fault.INTERNAL_ERROR, Fault.RESET_BEFORE, Fault.RESET_AFTER]
)
def test_a_storm_is_waited_out(
    store: S3Store, proxy: FaultProxy, waiter: Waiter, fault: Fault
) -> None:
    proxy.spoil(fault, times=5)
    store.put("key", b"value")
    proxy.spoil(fault, times=5)
    assert store.get("key")[0] == b"value"
    assert len(waiter.slept) == 10


def test_waits_grow_and_end(store: S3Store, proxy: FaultProxy, waiter: Waiter) -> None:
    proxy.spoil(Fault.SLOW_DOWN, times=10_000)
    with pytest.raises(Away, match="kept answering 503 SlowDown for key: it is overloaded or down"):
        store.put("key", b"value")
    assert waiter.now == pytest.approx(60)
    assert max(waiter.slept) <= 15


def test_who_cannot_wait_is_told_sooner(store: S3Store, proxy: FaultProxy, waiter: Waiter) -> None:
    proxy.spoil(Fault.SLOW_DOWN, times=10_000)
    with pytest.raises(Away):
        store.within(7).put("key", b"value")
    assert waiter.now == pytest.approx(7)


def test_a_broken_download_goes_on_where_it_broke(
    store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    path, sha256 = a_file(tmp_path)
    store.put_file("big", path, sha256)
    proxy.spoil(Fault.TORN_BODY, times=3, matches=lambda method, _: method == "GET")
    assert store.download("big", tmp_path / "there", sha256) == sha256
    assert (tmp_path / "there").read_bytes() == DATA
    ranges = [asked for method, _, asked in proxy.requests if method == "GET"]
    assert ranges[0] == ""
    assert len(ranges) == 4
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges[1:]]
    assert starts[0] > 0
    assert starts == sorted(starts)


def test_a_download_never_mixes_two_versions(
    store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    store.put("key", b"old" * 100_000)
    new = b"new" * 120_000

    proxy.spoil(Fault.TORN_BODY, matches=lambda method, _: method == "GET")
    replaced = []

    def replace(_seconds: float) -> None:
        replaced.append(store.put("key", new))

    torn = through(proxy.server, store.uri, Patience(60, replace, lambda: 0.0))
    torn.download("key", tmp_path / "there")
    assert len(replaced) >= 1
    assert (tmp_path / "there").read_bytes() == new


def test_a_damaged_download_is_told_and_left_out(
    store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    store.put("key", b"value")
    proxy.spoil(Fault.CORRUPT_BODY, matches=lambda method, _: method == "GET")
    with pytest.raises(Damaged, match="key has sha256"):
        store.download("key", tmp_path / "there", hashlib.sha256(b"value").hexdigest())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET_BEFORE, Fault.RESET_AFTER])
def test_a_torn_upload_is_mended(
    store: S3Store, proxy: FaultProxy, server: S3Server, tmp_path: Path, fault: Fault
) -> None:
    path, sha256 = a_file(tmp_path)
    proxy.spoil(fault, times=2, matches=lambda method, at: method == "PUT" and "partNumber=2" in at)
    proxy.spoil(fault, matches=lambda method, at: method == "POST" and "uploadId=" in at)
    assert store.put_file("big", path, sha256).size_bytes == len(DATA)
    assert store.get("big")[0] == DATA
    assert uploads_left(server) == 0


def test_an_upload_that_cannot_end_leaves_nothing(
    store: S3Store, proxy: FaultProxy, server: S3Server, tmp_path: Path
) -> None:
    path, sha256 = a_file(tmp_path)
    proxy.spoil(Fault.SLOW_DOWN, times=10_000, matches=lambda _, at: "partNumber=3" in at)
    with pytest.raises(StoreError, match="503 SlowDown"):
        store.put_file("big", path, sha256)
    assert store.head("big") is None
    assert uploads_left(server) == 0


def test_uploads_of_writers_that_died_are_aborted_by_age(store: S3Store, server: S3Server) -> None:
    store.put("key", b"value")
    prefix = store.prefix
    server.client().create_multipart_upload(Bucket=server.bucket, Key=f"{prefix}dead")
    assert store.abort_uploads(before=0) == 0
    assert store.abort_uploads(before=1e12) == 1
    assert uploads_left(server) == 0
    assert store.get("key")[0] == b"value"


def test_a_conditional_write_whose_answer_was_lost_is_known_as_ours(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.spoil(Fault.RESET_AFTER, matches=lambda method, _: method == "PUT")
    store.put("once", b"mine", if_absent=True)
    assert store.get("once")[0] == b"mine"
    with pytest.raises(Conflict):
        store.put("once", b"theirs", if_absent=True)


def test_a_lost_answer_does_not_hide_that_another_won(store: S3Store, proxy: FaultProxy) -> None:
    store.put("once", b"theirs")
    proxy.spoil(Fault.RESET_BEFORE, matches=lambda method, _: method == "PUT")
    with pytest.raises(Conflict):
        store.put("once", b"mine", if_absent=True)
    assert store.get("once")[0] == b"theirs"


def test_a_race_that_the_server_calls_off_is_run_again(store: S3Store, proxy: FaultProxy) -> None:
    proxy.spoil(Fault.RACE, times=2)
    store.put("once", b"mine", if_absent=True)
    assert store.get("once")[0] == b"mine"


def test_racing_writers_behind_a_bad_network_still_have_one_winner(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.spoil(Fault.RESET_AFTER, times=4, matches=lambda method, _: method == "PUT")

    def race(number: int) -> bool:
        try:
            store.put("race", b"%d" % number, if_absent=True)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(race, range(8))).count(True) == 1
