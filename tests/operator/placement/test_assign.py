"""Plans and refusals that a user would meet, by example."""

from __future__ import annotations

from dataclasses import replace

import pytest
from placement_builders import GIB, a_demand, a_kind, a_node

from haversack_operator.api.job import Toleration
from haversack_operator.api.memory import Candidate
from haversack_operator.placement.assign import assign
from haversack_operator.placement.demand import PeerKind
from haversack_operator.placement.milp import Limits
from haversack_operator.placement.plan import Infeasible, Level, Objective, Plan
from haversack_operator.snapshot import Amounts, Assignment, Taint

JETSON = {"haversack.dev/unified-memory": "true"}


def placed(answer: Plan | Infeasible) -> dict[int, str]:
    assert isinstance(answer, Plan), answer
    return {one.peer: one.node for one in answer.assignments}


def test_three_kinds_of_machines_in_one_job() -> None:
    """A GPU pool, an arm64 pool and a Jetson pool; each peer gets the micro-batch its node holds."""
    sizes = tuple(Candidate(2**k, (2 + 2**k) * GIB) for k in (5, 4, 3, 2, 1, 0))
    demand = a_demand(
        a_kind("gpu", replicas=2, arch="amd64", devices=1, memory=8, candidates=sizes),
        a_kind("arm", first=2, arch="arm64", memory=6, candidates=sizes),
        a_kind("jetson", first=3, arch="arm64", devices=1, memory=4, candidates=sizes),
        gang=4,
    )
    nodes = [
        a_node("a100", devices=1, labels={"haversack.dev/accelerator-memory": "40Gi"}),
        a_node("l4", devices=1, labels={"nvidia.com/gpu.memory": "22528"}),
        a_node("graviton", arch="arm64"),
        a_node("orin", arch="arm64", devices=1, memory=8, labels=JETSON),
    ]
    plan = assign(demand, nodes)
    assert isinstance(plan, Plan)
    assert {one.node: one.micro_batch_size for one in plan.assignments} == {
        "a100": 32,
        "l4": 16,
        "graviton": 4,
        "orin": 2,
    }
    assert plan.gap_percent == "0"


def test_neighbours_on_the_ring_share_a_zone() -> None:
    """Two pools over two zones: each pool visits each zone once, so the ring crosses twice."""
    demand = a_demand(a_kind("p", replicas=4), a_kind("q", first=4, replicas=4, arch="arm64"))
    nodes = [
        a_node(f"{arch}-{zone}", cpu=4, zone=zone, arch=arch)
        for zone in ("x", "y")
        for arch in ("amd64", "arm64")
    ]
    plan = assign(demand, nodes)
    assert isinstance(plan, Plan)
    assert plan.levels[1] == Level(Objective.CROSSINGS, 2, 2)


def test_one_zone_is_used_where_it_holds_all() -> None:
    nodes = [a_node(f"{zone}{n}", cpu=2, zone=zone) for zone in "xyz" for n in range(3)]
    homes = placed(assign(a_demand(a_kind(replicas=3)), nodes))
    assert len({node[0] for node in homes.values()}) == 1


def test_cpu_peers_keep_off_gpu_nodes_and_cheap_nodes_win() -> None:
    nodes = [
        a_node("gpu", devices=1, labels={"haversack.dev/accelerator-memory": "80Gi"}),
        a_node("dear", labels={"haversack.dev/cost-per-hour": "3.00"}),
        a_node("cheap", labels={"haversack.dev/cost-per-hour": "0.50"}),
    ]
    assert placed(assign(a_demand(a_kind()), nodes)) == {0: "cheap"}


def test_the_gang_is_all_or_nothing() -> None:
    nodes = [a_node("a", cpu=4), a_node("b", cpu=4)]
    refused = assign(a_demand(a_kind(replicas=5), gang=5), nodes)
    assert refused == Infeasible(
        "4 of 5 peers can be placed together; the job needs 5, with each pool's minimum",
        ("pool cpu: 4 of 5 peers placed: 2 of 2 nodes fit and are full",),
        proven=True,
    )
    assert len(placed(assign(a_demand(a_kind(replicas=5), gang=4), nodes))) == 4


def test_a_pool_s_minimum_comes_before_the_number_of_peers() -> None:
    """One big peer, or three small ones: the big pool's minimum decides."""
    kinds = (a_kind("small", replicas=3), a_kind("big", first=3, cpu=6, minimum=1))
    assert 3 in placed(assign(a_demand(*kinds), [a_node("a", cpu=6)]))


def test_reasons_are_given_in_words() -> None:
    nodes = [
        *(a_node(f"full{n}", arch="arm64", memory=6) for n in range(4)),
        *(a_node(f"amd{n}") for n in range(12)),
        *(a_node(f"edge{n}", arch="arm64", taints=(Taint("edge", "NoSchedule"),)) for n in "ab"),
        a_node("down", arch="arm64", ready=False),
        a_node("fits", arch="arm64", memory=12),
    ]
    demand = a_demand(a_kind("edge", replicas=2, arch="arm64", memory=10))
    plan = assign(demand, nodes)
    assert placed(plan) == {0: "fits"}
    assert isinstance(plan, Plan)
    assert plan.reasons == (
        (
            "pool edge: 1 of 2 peers placed: 1 of 20 nodes fits and is full; 4 fit but for memory "
            "(6 GiB free, 10 GiB asked); 1 is not ready; 12 are of another architecture (amd64; "
            "arm64 asked); 2 are tainted edge:NoSchedule"
        ),
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (a_kind(selector={"pool": "gpu"}), "1 does not have the label pool=gpu"),
        (a_kind(cpu=12), "1 fits but for cpu (8 free, 12 asked)"),
        (a_kind(cpu=12, memory=40), "1 lacks cpu (8 free, 12 asked)"),
        (a_kind(devices=2), "1 fits but for devices (0 free, 2 asked)"),
        (
            a_kind(candidates=(Candidate(1, 6 * GIB),)),
            (
                "1 fits but for memory for a step with the smallest micro-batch "
                "(4 GiB free, 6 GiB asked)"
            ),
        ),
    ],
)
def test_each_obstacle_has_words(kind: PeerKind, reason: str) -> None:
    refused = assign(a_demand(kind), [a_node("n")])
    assert isinstance(refused, Infeasible)
    assert refused.reasons[0].endswith(f"0 of 1 peer placed: none of 1 node fits; {reason}")


def test_the_hub_gives_way_to_peers_that_fill_a_node_together() -> None:
    """Alone, no kind loses a peer to a hub on ``x``; together they need all of it."""
    edge = Taint("edge", "NoSchedule")
    tolerant = (Toleration(key="edge", operator="Exists"),)
    kinds = (
        a_kind("large", cpu=4),
        a_kind("small", first=1, replicas=2, tolerations=tolerant),
    )
    hub = a_kind("hub", cpu=1, memory=1, tolerations=tolerant)
    nodes = [a_node("x", cpu=6), a_node("y", cpu=3, taints=(edge,))]
    plan = assign(replace(a_demand(*kinds, gang=3), hub=hub), nodes)
    assert sorted(placed(plan).values()) == ["x", "x", "y"]
    assert isinstance(plan, Plan)
    assert plan.hub_node == "y"


def test_no_nodes() -> None:
    assert assign(a_demand(a_kind()), []) == Infeasible("there is no node", (), proven=True)


def test_running_peers_stay_and_lost_ones_move() -> None:
    demand = a_demand(a_kind(replicas=3))
    nodes = [a_node("worse", labels={"haversack.dev/cost-per-hour": "9"}), a_node("best")]
    keep = [Assignment(0, "cpu", "worse", 2), Assignment(1, "cpu", "gone", 8)]
    plan = assign(demand, nodes, keep)
    assert placed(plan) == {0: "worse", 1: "best", 2: "best"}
    assert isinstance(plan, Plan)
    assert plan.assignments[0].micro_batch_size == 2


def test_peers_that_stay_are_placed_and_a_closed_node_is_not_called_not_ready() -> None:
    full = replace(a_node("n"), closed="kube-scheduler does not bind a pod there")
    refused = assign(a_demand(a_kind(replicas=2), gang=2), [full], [Assignment(0, "cpu", "n", 8)])
    assert refused == Infeasible(
        "1 of 2 peers can be placed together; the job needs 2, with each pool's minimum",
        (
            (
                "pool cpu: 1 of 2 peers placed: none of 1 node fits; 1 is closed to new peers "
                "(kube-scheduler does not bind a pod there)"
            ),
        ),
        proven=True,
    )


def test_running_peers_stay_on_a_node_that_would_not_be_chosen_now() -> None:
    keep = [Assignment(0, "cpu", "tainted", 8)]
    nodes = [a_node("tainted", taints=(Taint("t", "NoSchedule"),)), a_node("free")]
    assert placed(assign(a_demand(a_kind()), nodes, keep)) == {0: "tainted"}


def test_a_peer_whose_number_belongs_to_another_pool_now_is_placed_anew() -> None:
    demand = a_demand(a_kind("new", replicas=1))
    plan = assign(demand, [a_node("n")], [Assignment(0, "old", "n", 8)])
    assert isinstance(plan, Plan)
    assert plan.assignments == (Assignment(0, "new", "n", 8),)


def test_what_others_use_is_not_given_away() -> None:
    nodes = [a_node("n", cpu=8, used=Amounts(cpu_millis=5000))]
    assert len(placed(assign(a_demand(a_kind(replicas=4)), nodes))) == 1


def test_without_time_for_proofs_there_is_a_plan(capfd: pytest.CaptureFixture[str]) -> None:
    """With no time for HiGHS there is still a plan and a bound; and HiGHS never prints."""
    kinds = [
        a_kind(f"p{n}", first=6 * n, replicas=6, cpu=n + 1, memory=5 - n, devices=n % 2)
        for n in range(3)
    ]
    nodes = [
        a_node(f"n{n}", cpu=3 + n % 5, memory=6 + n % 7, devices=n % 3, zone="xyz"[n % 3])
        for n in range(9)
    ]
    hasty = assign(a_demand(*kinds), nodes, limits=Limits(nodes=0, seconds=0.0))
    proven = assign(a_demand(*kinds), nodes)
    assert isinstance(hasty, Plan)
    assert isinstance(proven, Plan)
    assert len(hasty.assignments) <= len(proven.assignments)
    assert proven.gap_percent == "0"
    assert hasty.levels[0].bound >= proven.levels[0].value
    assert proven.solver == "HiGHS"
    assert capfd.readouterr() == ("", "")
