"""Certificates that are not valid yet, or not any more: waited out, never the job's fault."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hub_certificates import Authority
from hub_harness import HubThread, a_join

from haversack_trainer.exchange.base import Stopped
from haversack_trainer.exchange.wire import LinkDown


@pytest.mark.parametrize("clock", [timedelta(hours=2), timedelta(days=-366)], ids=["early", "late"])
@pytest.mark.parametrize("whose", ["hub", "peer-0"])
def test_an_untimely_certificate_is_tried_again(
    tmp_path: Path, clock: timedelta, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path / "tls")
    authority.folder("operator")
    authority.clock = clock
    authority.folder(whose)
    authority.clock = timedelta()
    with HubThread(tmp_path, authority) as hub, pytest.raises(LinkDown):
        hub.line("peer-0").request("GET", f"/v1/runs/{hub.run}/log")
    # A hub that finds fault may hang up before its reason is read.
    assert whose == "peer-0" or "set the clocks of both nodes" in caplog.text


def test_renewed_certificates_are_read_by_a_hub_and_a_peer_that_run(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", clock=timedelta(days=-366))
    stopped: list[bool] = []
    with HubThread(tmp_path, authority, lease_seconds=2.0) as hub, ThreadPoolExecutor(1) as pool:
        exchange = hub.exchange(0)
        exchange._stop = lambda: bool(stopped)
        joined = pool.submit(exchange.join, a_join())
        try:
            authority.clock = timedelta()
            authority.renew("hub", "peer-0")
            assert joined.result(timeout=20) is None
        finally:
            stopped.append(True)


def test_a_peer_that_waits_for_a_certificate_can_be_stopped(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", clock=timedelta(days=-366))
    looks = iter(range(1000))
    with HubThread(tmp_path, authority) as hub:
        exchange = hub.exchange(0)
        exchange._stop = lambda: next(looks) > 3
        with pytest.raises(Stopped):
            exchange.join(a_join())
