"""The operator lives with exactly the rights that the chart grants: none is missing, none is idle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from chart import (
    NAMESPACE,
    RELEASE,
    Right,
    operator_kubeconfig,
    operator_rights,
    render,
    used_rights,
)
from control_plane import ControlPlane, running
from job_cases import BASE
from operator_process import operating
from operator_world import World
from waiting import wait_for

pytestmark = pytest.mark.cluster

USER = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
NEEDS_A_HUB = {Right("haversack.dev", "finetuneplans/status", "patch")}
"""Rows of peers come from a run that is under way: the end-to-end tests show it."""
KEPT_PLANS = 3
NUM_PEERS = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One watched namespace, and an operator that has the chart's Role there and nothing else."""
    with running(tmp_path_factory.mktemp("rights"), audit=True) as plane:
        for path in sorted((Path(__file__).parents[2] / "crds").glob("*.yaml")):
            plane.apply(path.read_text())
        made = World(plane, "team-a")
        kubeconfig = operator_kubeconfig(plane, made.namespace)
        for number in range(2):
            made.add_node(number)
        with operating(kubeconfig, plane.folder / "operator.log", f"--namespaces={made.namespace}"):
            yield made


def test_a_whole_life_needs_every_right_and_no_other(world: World) -> None:
    world.add_job("one", BASE)
    world.wait_pods("one", "one--cpu-0-0", "one--cpu-1-0")
    _replan(world, "one", KEPT_PLANS)
    world.patch("FineTuneJob", "one", {"spec": {"networkPolicy": {"enabled": False}}})
    wait_for(lambda: world.get("NetworkPolicy", "one") is None)
    ending = {"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0}
    for pod in world.pods("one"):
        world.runs(pod)
    world.patch("FineTuneJob", "one", {"spec": ending})
    wait_for(lambda: world.get("FineTuneJob", "one") is None)
    assert isinstance(world.client, ControlPlane)
    used = used_rights(world.client.audit_log, USER)
    assert used == operator_rights(render({"watch.namespaces": ["team-a"]})) - NEEDS_A_HUB


def _replan(world: World, job: str, times: int) -> None:
    """Drain one node, then the other; every time a plan is made, the oldest is thrown away."""
    for time in range(times):
        for number in range(2):
            cordoned = {"spec": {"unschedulable": number == time % 2}}
            world.patch("Node", f"{world.namespace}-node-{number}", cordoned)
        # A plan is there before its pods: one that came later would not be deleted, and nothing planned anew.
        wait_for(lambda: len(world.pods(job)) == NUM_PEERS)
        for pod in world.pods(job):
            world.delete("Pod", pod)
        wait_for(partial(world.get, "FineTunePlan", f"{job}-plan-{time + 2}"))
    wait_for(lambda: world.get("FineTunePlan", f"{job}-plan-1") is None)
