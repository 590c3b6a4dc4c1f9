"""A pass that fails in a way nobody thought of: people see it on the job, and the queue in its log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from operator_builders import NODES, NOW, SETTINGS, a_hub, a_job, a_peer, a_snapshot

from haversack_operator.api.status import JobStatus
from haversack_operator.cluster.base import Actions, ClusterError, Key
from haversack_operator.reconcile import decide, run
from haversack_operator.snapshot import Amounts, Snapshot
from haversack_operator.status import is_true

KEY = Key("team", "one")
BOTTOMLESS = (replace(NODES[0], allocatable=Amounts(1000, 2**70)),)
"""More memory than placement can count: an error of ours that no rule refuses."""
BROKEN = a_snapshot(pods=(), plan=None, nodes=BOTTOMLESS)


@dataclass
class Seen:
    """A cluster that shows one snapshot and keeps what it was told to do."""

    snapshot: Snapshot
    refusal: Exception | None = None
    applied: list[Actions] = field(default_factory=list)

    async def observe(self, key: Key, now: datetime) -> Snapshot:
        return self.snapshot

    def claim(self, key: Key, snapshot: Snapshot, actions: Actions) -> bool:
        return True

    async def apply(self, key: Key, actions: Actions) -> None:
        self.applied.append(actions)
        if self.refusal is not None:
            raise self.refusal


async def failing(snapshot: Snapshot) -> list[Actions]:
    """What was still done by a pass that failed."""
    cluster = Seen(snapshot)
    with pytest.raises(OverflowError):
        await run(KEY, cluster, NOW, SETTINGS)
    return cluster.applied


async def test_the_job_says_that_the_operator_failed() -> None:
    (actions,) = await failing(BROKEN)
    assert actions.status is not None
    status = JobStatus.model_validate(actions.status)
    (stalled,) = (one for one in status.conditions if one.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "InternalError")
    assert stalled.message.startswith("the operator failed on this job: OverflowError: ")
    assert stalled.message.endswith("; see its log")
    (ready,) = (one for one in status.conditions if one.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "InternalError")
    assert status.observed_generation == 1
    assert [event.reason for event in actions.events] == ["InternalError"]


async def test_it_is_said_once_and_taken_back_by_a_pass_that_succeeds() -> None:
    (actions,) = await failing(BROKEN)
    job = a_job(status=dict(actions.status or {}))
    assert await failing(replace(BROKEN, job=job)) == [Actions()]
    mended = Seen(replace(BROKEN, job=job, nodes=NODES))
    await run(KEY, mended, NOW, SETTINGS)
    status = JobStatus.model_validate(mended.applied[0].status)
    assert not is_true(status, "Stalled")
    assert "InternalError" not in {one.reason for one in status.conditions}


async def test_what_the_world_refuses_is_no_error_of_ours() -> None:
    cluster = Seen(a_snapshot(pods=(a_hub(), a_peer(0))), ClusterError("busy"))
    with pytest.raises(ClusterError, match="busy"):
        await run(KEY, cluster, NOW, SETTINGS)
    assert len(cluster.applied) == 1


def test_the_largest_job_that_is_accepted_can_be_counted() -> None:
    pool = {
        "name": "huge",
        "peers": {"replicas": 256},
        "resources": {"cpu": "100000", "memory": "1Pi"},
        "accelerator": {"count": 16, "memory": "1Pi"},
    }
    actions = decide(a_snapshot(a_job(pools=[pool]), pods=(), plan=None), SETTINGS).actions
    status = JobStatus.model_validate(actions.status)
    (placed,) = (one for one in status.conditions if one.type == "Placed")
    assert (placed.status, placed.reason) == ("False", "CannotPlace")
