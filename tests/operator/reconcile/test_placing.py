"""Where peers are to be when room is short, gone, or not what it was when the plan was made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from operator_builders import NOW, SETTINGS, a_hub, a_job, a_peer, a_plan, a_progress, a_snapshot
from placement_builders import GIB, a_node

from haversack_operator.cluster.base import Actions
from haversack_operator.cluster.kube_objects import planned_node, preferred_node
from haversack_operator.reconcile import decide
from haversack_operator.snapshot import Amounts, Snapshot, Taint
from haversack_trainer.contract.report import PeerReport, PeerState, RunProgress

GANG = a_job(4, placement={"minPeers": 4})
REFUSED: dict[str, Any] = {
    "phase": "Pending",
    "ready": False,
    "waiting_reason": "Unschedulable",
    "created": NOW - timedelta(seconds=61),
}
HALF = (a_peer(0), a_peer(1), a_peer(2, **REFUSED), a_peer(3, **REFUSED))
EMPTY_LOG = RunProgress(run=GANG.run)
GATHERING = RunProgress(run=GANG.run, view=(0, 1), num_records=2)


def act(snapshot: Snapshot) -> Actions:
    return decide(snapshot, SETTINGS).actions


def homes(actions: Actions) -> dict[str, str | None]:
    """Where the peers' new pods are told to go."""
    return {
        body["metadata"]["name"]: planned_node(body["spec"])
        for body in actions.apply
        if body["kind"] == "Pod" and body["metadata"]["labels"]["haversack.dev/role"] == "peer"
    }


def placed(actions: Actions) -> tuple[str, str, str]:
    assert actions.status is not None
    entry = next(one for one in actions.status["conditions"] if one["type"] == "Placed")
    return entry["status"], entry["reason"], entry["message"]


def half_a_gang(hub: dict[str, Any] | None = None, **more: Any) -> Snapshot:
    """Two of four peers run; kube-scheduler has no room for the others, and there is no other node."""
    whole = {"nodes": (a_node("n1"),), "pods": (a_hub(**(hub or {})), *HALF), "plan": a_plan(4)}
    return a_snapshot(GANG, **(whole | more))


@pytest.mark.parametrize(
    "seen",
    [
        half_a_gang(progress=EMPTY_LOG),
        half_a_gang(progress=GATHERING),
        half_a_gang(hub={"ready": False, "phase": "Pending"}),
        half_a_gang(hub={"attempt": 1}, progress=GATHERING),
    ],
    ids=["nobody joined yet", "they gather", "the hub is not up yet", "the second hub, gathering"],
)
def test_a_gang_that_cannot_start_gives_its_room_back(seen: Snapshot) -> None:
    actions = act(seen)
    assert {ref.name for ref in actions.delete} == {pod.name for pod in seen.pods}
    assert not homes(actions)
    status, reason, said = placed(actions)
    assert (status, reason) == ("False", "CannotPlace")
    assert "until then it holds no room" in said


def written(round: int) -> dict[str, Any]:
    return {"progress": {"round": round, "rounds": 20, "percent": 0}}


@pytest.mark.parametrize(
    "seen",
    [
        half_a_gang(progress=a_progress()),
        half_a_gang(
            progress=GATHERING.model_copy(
                update={"peers": (PeerReport(peer=0, state=PeerState.TRAINING),)}
            )
        ),
        half_a_gang(hub={"attempt": 1}, progress=EMPTY_LOG),
        replace(half_a_gang(), job=replace(GANG, status=written(3))),
    ],
    ids=["round 6", "the first round", "a hub that lost its log", "a hub that is away"],
)
def test_a_run_that_is_under_way_goes_on_with_the_peers_it_has(seen: Snapshot) -> None:
    actions = act(seen)
    assert {ref.name for ref in actions.delete} == {"one--cpu-2-0", "one--cpu-3-0"}
    assert placed(actions)[:2] == ("False", "CannotPlace")


def test_a_gang_that_gave_its_room_back_is_placed_whole_or_not_at_all() -> None:
    none: dict[str, Any] = {"pods": (), "plan": a_plan(4)}
    taken = Amounts(1000, 28 * GIB)
    actions = act(a_snapshot(GANG, nodes=(a_node("n1", used=taken),), **none))
    assert not homes(actions)
    assert [body for body in actions.apply if body["kind"] == "Pod"] == []
    assert len(homes(act(a_snapshot(GANG, nodes=(a_node("n1"),), **none)))) == 4


FULL = Amounts(8000, 32 * GIB)
RESUMED: dict[str, Any] = {"pods": ()}
SSD = {"name": "cpu", "peers": {"replicas": 2}, "nodeSelector": {"disk": "ssd"}}
LARGE = {"name": "cpu", "peers": {"replicas": 2}, "resources": {"memory": "20Gi"}}


@pytest.mark.parametrize(
    ("job", "nodes", "nodes_of_peers"),
    [
        (a_job(), (a_node("n1"), a_node("n2")), {"n1"}),
        (a_job(), (a_node("n1", used=FULL), a_node("n2")), {"n2"}),
        (a_job(pools=[SSD]), (a_node("n1"), a_node("n2", labels={"disk": "ssd"})), {"n2"}),
        (a_job(pools=[LARGE]), (a_node("n1"), a_node("n2")), {"n1", "n2"}),
        (a_job(), (a_node("n1", cordoned=True), a_node("n2")), {"n2"}),
        (a_job(), (a_node("n2"),), {"n2"}),
    ],
    ids=["as it was", "full", "another selector", "larger", "cordoned", "gone"],
)
def test_a_job_that_is_resumed_goes_where_it_was_if_it_still_fits(
    job: Any, nodes: Any, nodes_of_peers: set[str]
) -> None:
    actions = act(a_snapshot(job, nodes=nodes, **RESUMED))
    assert len(homes(actions)) == 2
    assert set(homes(actions).values()) == nodes_of_peers


def test_what_a_running_pod_asked_for_counts_and_not_what_the_spec_asks_now() -> None:
    """Two pods of 8 GiB fill a node of 16; the spec says 2 GiB by now."""
    small = {"name": "cpu", "peers": {"replicas": 3}, "resources": {"memory": "2Gi", "cpu": "1"}}
    large = Amounts(1000, 8 * GIB)
    pods = (a_hub(), a_peer(0, requests=large), a_peer(1, requests=large))
    seen = a_snapshot(a_job(3, pools=[small]), nodes=(a_node("n1", memory=16),), pods=pods)
    assert not homes(act(seen))
    roomy = replace(seen, nodes=(a_node("n1", memory=18),))
    assert homes(act(roomy)) == {"one--cpu-2-0": "n1"}


NEW: dict[str, Any] = {"pods": (), "plan": None}
PAIR = a_job(placement={"minPeers": 2})


def drawn_to(actions: Actions) -> str | None:
    """Where the hub best goes."""
    (hub,) = (body for body in actions.apply if body["metadata"]["name"].startswith("one-hub-"))
    return preferred_node(hub["spec"])


def test_the_hub_needs_room_beside_the_peers() -> None:
    """A node that two peers fill has none for the hub, which would keep one of them out."""
    full = act(a_snapshot(PAIR, nodes=(a_node("n1", memory=4),), **NEW))
    assert not homes(full)
    status, _, said = placed(full)
    assert status == "False"
    assert "the hub takes 512 MiB of memory and 0.1 CPU of node n1" in said
    two = act(a_snapshot(PAIR, nodes=(a_node("n1", memory=4), a_node("n2", memory=1)), **NEW))
    assert set(homes(two).values()) == {"n1"}
    assert drawn_to(two) == "n2"


def test_the_hub_goes_only_where_it_may_run() -> None:
    tainted = a_node("n2", memory=1, taints=(Taint("edge", "NoSchedule"),))
    nodes = (a_node("n1", memory=4), tainted)
    assert not homes(act(a_snapshot(PAIR, nodes=nodes, **NEW)))
    pool = {
        "name": "cpu",
        "peers": {"replicas": 2},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
    }
    tolerant = a_job(placement={"minPeers": 2}, pools=[pool])
    assert drawn_to(act(a_snapshot(tolerant, nodes=nodes, **NEW))) == "n2"
    roomy = (replace(tainted, name="n0"), a_node("n1"))
    assert drawn_to(act(a_snapshot(tolerant, nodes=roomy, **NEW))) == "n1", "if it need not"


def test_without_room_for_the_hub_there_is_no_plan() -> None:
    tiny = a_job(
        pools=[{"name": "cpu", "peers": {"replicas": 2}, "resources": {"memory": "128Mi"}}]
    )
    taken = Amounts(0, 32 * GIB - 2**28)
    actions = act(a_snapshot(tiny, nodes=(a_node("n1", used=taken),), **NEW))
    assert placed(actions) == (
        "False",
        "CannotPlace",
        (
            "no node has room for the hub; until then it holds no room. the hub: none of 1 node "
            "fits; 1 fits but for memory (256 MiB free, 512 MiB asked)"
        ),
    )


def test_a_hub_that_is_lost_goes_where_the_peers_leave_room() -> None:
    nodes = (a_node("n1", memory=4), a_node("n2", memory=4))
    actions = act(a_snapshot(nodes=nodes, pods=(a_peer(0), a_peer(1)), plan=a_plan()))
    assert drawn_to(actions) == "n2"
