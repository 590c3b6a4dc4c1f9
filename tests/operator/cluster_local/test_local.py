"""This machine as a cluster: how pods are let go."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from haversack_operator.cluster.base import Actions, Ref
from haversack_operator.cluster.local import LocalCluster
from haversack_operator.cluster.local_state import Saved
from haversack_trainer.contract.report import RunProgress

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
GRACE_SECONDS = 6


def a_pod() -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "peer", "namespace": "team", "labels": {"haversack.dev/role": "peer"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "containers": [{"name": "trainer", "command": [sys.executable, "-c", DEAF]}],
        },
    }


@pytest.mark.parametrize(("rounds", "soon"), [(None, True), (0, True), (1, False)])
async def test_peers_without_a_round_are_not_waited_for(
    tmp_path: Path, rounds: int | None, soon: bool
) -> None:
    job = {
        "kind": "FineTuneJob",
        "metadata": {"name": "mine", "namespace": "team", "generation": 1},
        "spec": {},
    }
    cluster = LocalCluster(Saved(job), (), (), tmp_path, os.environ)
    await cluster.start()
    await cluster.apply(cluster.key, Actions(apply=(a_pod(),)))
    log = tmp_path / "pods/peer/log.txt"
    while not log.exists() or not log.read_text():
        await cluster.news(0.1)
    cluster.progress = None if rounds is None else RunProgress(run="r", round=rounds)
    cluster.suspend()
    began = time.monotonic()
    await cluster.apply(cluster.key, Actions(delete=(Ref("Pod", "peer"),)))
    while await cluster.pods():
        await cluster.news(0.1)
    assert (time.monotonic() - began < GRACE_SECONDS) is soon
    await cluster.close()
