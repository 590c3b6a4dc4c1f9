"""Settings that cannot work: each is told in one sentence that says what to change."""

from __future__ import annotations

import pytest
from binaries import free_port, need_tool
from s3cases import Waiter, through
from s3faults import Fault, FaultProxy
from s3server import S3Server

from haversack_trainer.contract.spec import S3Spec
from haversack_trainer.objects.base import Away, StoreError
from haversack_trainer.objects.opening import open_store
from haversack_trainer.objects.s3 import S3Store


def test_an_endpoint_that_is_not_there_is_named(waiter: Waiter) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = S3Store.open(
        "s3://bucket/x",
        S3Spec(endpoint=endpoint),
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        waiter.patience(),
    )
    with pytest.raises(Away, match=rf"{endpoint} cannot be reached .* check storage.s3.endpoint"):
        store.probe()
    assert waiter.now == pytest.approx(20)


def test_a_bucket_that_is_not_there_is_named(server: S3Server, waiter: Waiter) -> None:
    store = through(server, "s3://no-such-bucket/x", waiter.patience())
    with pytest.raises(
        StoreError,
        match=r"there is no bucket no-such-bucket at .*: create it or correct storage\.uri",
    ):
        store.probe()
    assert not waiter.slept


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_point_to_the_secret_and_show_nothing(
    server: S3Server, waiter: Waiter, wrong: str
) -> None:
    need_tool("versitygw")
    environ = server.environ | {wrong: "not-the-right-one"}
    store = S3Store.open(f"s3://{server.bucket}/x", server.spec, environ, waiter.patience())
    with pytest.raises(
        StoreError, match=r"refuses the credentials .* storage\.s3\.secretRef"
    ) as caught:
        store.probe()
    said = str(caught.value) + repr(store)
    assert not [secret for secret in environ.values() if secret in said]
    with pytest.raises(StoreError, match="refuses the credentials"):
        store.get("key")


def test_half_of_the_credentials_is_named(server: S3Server) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "only"}
    with pytest.raises(
        StoreError,
        match="needs both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, it has only AWS_ACCESS_KEY_ID",
    ):
        open_store(f"s3://{server.bucket}/x", server.spec, environ)


def test_no_credentials_at_all_point_to_the_secret(
    server: S3Server, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    store = S3Store.open(f"s3://{server.bucket}/x", server.spec, {}, waiter.patience())
    with pytest.raises(StoreError, match=r"there are no S3 credentials .* storage\.s3\.secretRef"):
        store.probe()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault.WRONG_REGION, r"is not in region us-east-1: correct storage\.s3\.region"),
        (Fault.FULL, r"is full \(QuotaExceeded\): free space or raise its quota"),
        (
            Fault.NOT_IMPLEMENTED,
            r"answered 501 NotImplemented .* check storage\.uri and storage\.s3",
        ),
    ],
)
def test_what_no_wait_heals_is_told_at_once(
    store: S3Store, proxy: FaultProxy, waiter: Waiter, fault: Fault, sentence: str
) -> None:
    proxy.spoil(fault)
    with pytest.raises(StoreError, match=sentence):
        store.put("key", b"value")
    assert not waiter.slept


def test_a_server_without_conditional_writes_is_found_out(
    store: S3Store, proxy: FaultProxy
) -> None:
    puts = iter(range(10))
    proxy.spoil(
        Fault.NOT_IMPLEMENTED, matches=lambda method, _: method == "PUT" and next(puts) == 1
    )
    assert store.probe() is False


def test_a_password_in_the_endpoint_is_not_shown(waiter: Waiter) -> None:
    endpoint = f"http://user:hunter2@127.0.0.1:{free_port()}"
    store = S3Store.open(
        "s3://bucket/x",
        S3Spec(endpoint=endpoint),
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
        waiter.patience(),
    )
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert "hunter2" not in str(caught.value)


def test_a_store_that_is_away_is_not_taken_for_one_without_conditions(
    store: S3Store, proxy: FaultProxy
) -> None:
    puts = iter(range(10**6))
    proxy.spoil(
        Fault.SLOW_DOWN, 10**6, matches=lambda method, _: method == "PUT" and next(puts) > 0
    )
    with pytest.raises(Away):
        store.probe()


def test_a_server_without_tls_behind_https_is_told(server: S3Server, waiter: Waiter) -> None:
    endpoint = server.endpoint.replace("http://", "https://")
    store = through(server, "s3://bucket/x", waiter.patience(), endpoint=endpoint)
    with pytest.raises(StoreError, match=r"has no certificate .* storage\.s3\.endpoint"):
        store.probe()
    assert not waiter.slept
