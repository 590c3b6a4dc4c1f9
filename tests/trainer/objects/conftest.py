"""A running S3 server, a proxy in front of it, and time that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3cases import Waiter, through
from s3faults import FaultProxy, fault_proxy
from s3server import S3Server, s3_server

from haversack_trainer.objects.s3 import S3Store


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
    return through(
        proxy.server, f"s3://{proxy.server.bucket}/{request.node.name[:40]}", waiter.patience()
    )
