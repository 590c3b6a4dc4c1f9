"""Checkpoints and adapters on a real S3 server behind a bad network."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from binaries import need_tool
from checkpoint_cases import RUN, a_verdict, an_adapter, meta
from s3cases import Waiter, through
from s3faults import Fault, FaultProxy, fault_proxy
from s3server import S3Server, s3_server

from haversack_operator.resources.pods import GRACE_SECONDS
from haversack_trainer.checkpoint.adapters import latest_adapter, publish_adapter
from haversack_trainer.checkpoint.states import load, newest, prune, save
from haversack_trainer.checkpoint.sweep import sweep
from haversack_trainer.loop.saves import Saves
from haversack_trainer.loop.snapshot import Snapshot
from haversack_trainer.objects.base import Away
from haversack_trainer.objects.s3 import S3Store

FILES = {"adapter.safetensors": b"weights", "state-0.safetensors": bytes(range(256)) * (17 << 12)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(server) as running:
        yield running


@pytest.fixture
def waiter() -> Waiter:
    return Waiter()


@pytest.fixture
def store(proxy: FaultProxy, waiter: Waiter, request: pytest.FixtureRequest) -> S3Store:
    uri = f"s3://{proxy.server.bucket}/{request.node.name[:40]}"
    store = through(proxy.server, uri, waiter.patience())
    assert store.probe()
    return store


def test_a_large_checkpoint_comes_back_through_a_storm(store: S3Store, proxy: FaultProxy) -> None:
    proxy.spoil(Fault.SLOW_DOWN, times=3)
    proxy.spoil(Fault.RESET_AFTER, times=2, matches=lambda method, _: method == "PUT")
    ref = save(store, 5, FILES, meta())
    proxy.spoil(Fault.TORN_BODY, times=3, matches=lambda method, _: method == "GET")
    assert newest(store, RUN) == ref
    assert load(store, ref)[0] == FILES


@pytest.mark.parametrize("part", ["partNumber=2", "state-0.safetensors", "manifest.json"])
def test_a_store_that_goes_down_while_saving_keeps_the_last_one(
    store: S3Store, proxy: FaultProxy, part: str
) -> None:
    before = save(store, 5, FILES, meta())
    proxy.spoil(
        Fault.SLOW_DOWN,
        times=200,
        matches=lambda method, path: method != "GET" and part in path and "0010-" in path,
    )
    with pytest.raises(Away, match="it is overloaded or down"):
        save(store, 10, FILES, meta())
    assert newest(store, RUN) == before


def test_a_peer_gives_a_checkpoint_up_before_its_pods_grace_period_is_over(
    store: S3Store, proxy: FaultProxy, waiter: Waiter
) -> None:
    saves = Saves(store, meta(), peer=0, keep=2)
    snapshot = Snapshot(1, {"w": torch.zeros(2)}, {"moment": torch.zeros(2)})
    began = waiter.now
    proxy.spoil(Fault.SLOW_DOWN, times=10_000)
    with pytest.raises(Away):
        saves.own(snapshot)
    with pytest.raises(Away):
        saves.shared(1, snapshot.tensors)
    assert waiter.now - began < GRACE_SECONDS


def test_pruning_and_sweeping_leave_what_counts(store: S3Store, server: S3Server) -> None:
    need_tool("versitygw")  # moto says of every upload that it began in 2010
    refs = [save(store, round_, {"a": b"%d" % round_}, meta()) for round_ in (5, 10, 15)]
    store.put(f"checkpoints/{RUN}/0000000020-ffffffff/a", b"its writer died")
    server.client().create_multipart_upload(Bucket=server.bucket, Key=f"{store.prefix}dead")
    assert prune(store, RUN, keep=1, upto=20) == 2
    assert sweep(store) == 0
    assert sweep(store, older_than_seconds=-60) == 2
    assert newest(store, RUN) == refs[2]
    assert {info.key.rpartition("/")[0] for info in store.list("")} == {
        refs[2].key.rpartition("/")[0]
    }


def test_leaders_that_race_on_a_bad_network_publish_one_adapter(
    store: S3Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    folder = an_adapter(tmp_path / "adapter")
    proxy.spoil(
        Fault.RESET_AFTER,
        times=3,
        matches=lambda method, path: method == "PUT" and "manifest" in path,
    )
    proxy.spoil(
        Fault.RESET_AFTER,
        times=2,
        matches=lambda method, path: method == "PUT" and "latest" in path,
    )
    with ThreadPoolExecutor(3) as pool:
        published = set(
            pool.map(lambda _: publish_adapter(store, folder, a_verdict(), meta()), range(3))
        )
    assert len(published) == 1
    found = latest_adapter(store, tmp_path / "cache")
    assert found is not None
    assert (found[0] / "adapter_model.safetensors").read_bytes() == b"weights"
