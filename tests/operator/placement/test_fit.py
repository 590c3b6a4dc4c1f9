"""Which peer fits which node, by the rules of Kubernetes and of unified memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from placement_builders import GIB, a_kind, a_node

from haversack_operator.api.job import Toleration
from haversack_operator.api.memory import Candidate
from haversack_operator.placement.demand import PeerKind
from haversack_operator.placement.fit import Misfit, Obstacle, choose, misfits, room_of, tolerated
from haversack_operator.snapshot import Amounts, Node, Taint

EDGE = Taint("edge", "NoSchedule", "yes")
UNIFIED = {"haversack.dev/unified-memory": "true"}
SIZES = tuple(Candidate(2**k, 2**k * GIB) for k in (4, 3, 2, 1, 0))


@pytest.mark.parametrize(
    ("toleration", "taint", "does"),
    [
        (Toleration(key="edge", operator="Exists"), EDGE, True),
        (Toleration(operator="Exists"), EDGE, True),
        (Toleration(key="edge", value="yes"), EDGE, True),
        (Toleration(key="edge", value="no"), EDGE, False),
        (Toleration(key="edge"), EDGE, False),
        (Toleration(key="edge"), Taint("edge", "NoExecute"), True),
        (Toleration(key="edge", operator="Exists", effect="NoExecute"), EDGE, False),
        (Toleration(key="edge", operator="Exists", effect="NoSchedule"), EDGE, True),
        (Toleration(key="other", operator="Exists"), EDGE, False),
        (Toleration(key="other", operator="Exists"), Taint("edge", "PreferNoSchedule"), True),
    ],
)
def test_taints_are_tolerated_as_the_scheduler_does(
    toleration: Toleration, taint: Taint, does: bool
) -> None:
    assert tolerated(taint, (toleration,)) is does


@pytest.mark.parametrize(
    ("kind", "node", "expected"),
    [
        (a_kind(), a_node("n"), ()),
        (a_kind(), a_node("n", ready=False), (Misfit(Obstacle.NOT_READY),)),
        (
            a_kind(),
            replace(a_node("n"), closed="a peer found it unfit"),
            (Misfit(Obstacle.CLOSED, "a peer found it unfit"),),
        ),
        (
            a_kind(arch="arm64"),
            a_node("n"),
            (Misfit(Obstacle.ARCHITECTURE, "amd64", "arm64"),),
        ),
        (a_kind(selector={"pool": "x"}), a_node("n", labels={"pool": "x"}), ()),
        (
            a_kind(selector={"pool": "x"}),
            a_node("n"),
            (Misfit(Obstacle.SELECTOR, "", "pool=x"),),
        ),
        (
            a_kind(),
            a_node("n", taints=(EDGE,)),
            (Misfit(Obstacle.TAINT, "edge=yes:NoSchedule"),),
        ),
        (
            a_kind(),
            a_node("n", cordoned=True),
            (Misfit(Obstacle.TAINT, "node.kubernetes.io/unschedulable:NoSchedule"),),
        ),
        (a_kind(devices=2), a_node("n", devices=1), (Misfit(Obstacle.DEVICES, 1, 2),)),
        (
            a_kind(devices=1, device_memory=24),
            a_node("n", devices=1),
            (Misfit(Obstacle.DEVICE_MEMORY_UNKNOWN),),
        ),
        (a_kind(devices=1), a_node("n", devices=1), ()),
        (
            a_kind(devices=1, device_memory=24),
            a_node("n", devices=1, labels={"haversack.dev/accelerator-memory": "16Gi"}),
            (Misfit(Obstacle.DEVICE_MEMORY, 16 * GIB, 24 * GIB),),
        ),
        (
            a_kind(cpu=4, memory=30),
            a_node("n", cpu=8, memory=32, used=Amounts(5000, 4 * GIB)),
            (Misfit(Obstacle.CPU, 3000, 4000), Misfit(Obstacle.MEMORY, 28 * GIB, 30 * GIB)),
        ),
        (
            a_kind(memory=4, candidates=(Candidate(1, 5 * GIB),)),
            a_node("n"),
            (Misfit(Obstacle.MICRO_BATCH, 4 * GIB, 5 * GIB),),
        ),
    ],
)
def test_every_obstacle_is_named_with_figures(
    kind: PeerKind, node: Node, expected: tuple[Misfit, ...]
) -> None:
    assert misfits(kind, room_of(node)) == expected


def test_used_devices_are_not_free() -> None:
    node = a_node("n", devices=2, used=Amounts(devices={"nvidia.com/gpu": 1}))
    assert misfits(a_kind(devices=2), room_of(node)) == (Misfit(Obstacle.DEVICES, 1, 2),)


@pytest.mark.parametrize(
    ("labels", "memory"),
    [
        ({"nvidia.com/gpu.memory": "24576"}, 24 * GIB),
        ({"nvidia.com/gpu.memory": "24576", "nvidia.com/gpu.replicas": "4"}, 6 * GIB),
        ({"nvidia.com/gpu.memory": "1", "haversack.dev/accelerator-memory": "8Gi"}, 8 * GIB),
        ({"haversack.dev/accelerator-memory": "lots"}, None),
        ({}, None),
    ],
)
def test_device_memory_by_label(labels: dict[str, str], memory: int | None) -> None:
    assert room_of(a_node("n", devices=1, labels=labels)).device_memory("nvidia.com/gpu") == memory


SLICE = "nvidia.com/mig-1g.10gb"


@pytest.mark.parametrize(
    ("labels", "memory"),
    [
        ({"nvidia.com/gpu.memory": "81920", f"{SLICE}.memory": "9728"}, 9728 * 2**20),
        ({f"{SLICE}.memory": "9728", f"{SLICE}.replicas": "2"}, 4864 * 2**20),
        ({f"{SLICE}.memory": "9728", "haversack.dev/accelerator-memory": "9Gi"}, 9 * GIB),
        ({"nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.replicas": "2"}, None),
    ],
    ids=["of a slice", "of a shared slice", "the administrator's word", "of the whole card only"],
)
def test_a_slice_of_a_card_does_not_have_the_cards_memory(
    labels: dict[str, str], memory: int | None
) -> None:
    assert room_of(a_node("n", labels=labels)).device_memory(SLICE) == memory


def test_unified_memory_keeps_headroom_and_counts_once() -> None:
    """A Jetson of 20 GiB has 17 for pods; a device's memory is a part of them."""
    jetson = a_node("j", memory=20, devices=1, labels=UNIFIED)
    room = room_of(jetson)
    assert room.memory_bytes == 17 * GIB
    assert misfits(a_kind(devices=1, memory=4, device_memory=17), room) == ()
    assert misfits(a_kind(devices=1, memory=4, device_memory=18), room) == (
        Misfit(Obstacle.MEMORY, 17 * GIB, 18 * GIB),
    )


@pytest.mark.parametrize(
    ("kind", "labels", "micro_batch"),
    [
        (
            a_kind(devices=1, memory=2, candidates=SIZES),
            {"haversack.dev/accelerator-memory": "9Gi"},
            8,
        ),
        (a_kind(devices=1, memory=2, candidates=SIZES), {}, 16),
        (a_kind(devices=1, memory=5, candidates=SIZES), UNIFIED, 4),
        (a_kind(memory=3, candidates=SIZES), {"haversack.dev/accelerator-memory": "80Gi"}, 2),
    ],
    ids=["device", "device of unknown size", "unified: the pod's limit", "CPU: the pod's limit"],
)
def test_the_largest_micro_batch_that_fits_is_chosen(
    kind: PeerKind, labels: dict[str, str], micro_batch: int
) -> None:
    candidate = choose(kind, room_of(a_node("n", devices=1, labels=labels)))
    assert candidate is not None
    assert candidate.micro_batch_size == micro_batch
