"""Random small instances, and all their solutions, for the properties of the planner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
from hypothesis import strategies as st
from placement_builders import a_demand, a_kind, a_node

from haversack_operator.api.memory import Candidate
from haversack_operator.placement.demand import Demand, PeerKind
from haversack_operator.placement.fit import memory_need, misfits, room_of
from haversack_operator.placement.problem import Ints, Problem
from haversack_operator.snapshot import Assignment, Node

SIZES = (Candidate(4, 4 * 2**30), Candidate(2, 3 * 2**30), Candidate(1, 2**30))


@st.composite
def node_lists(draw: st.DrawFn, most: int = 4) -> list[Node]:
    return [
        a_node(
            f"n{number}",
            cpu=draw(st.integers(1, 8)),
            memory=draw(st.integers(2, 14)),
            devices=draw(st.integers(0, 2)),
            zone=draw(st.sampled_from(["", "a", "b"])),
            arch=draw(st.sampled_from(["amd64", "amd64", "arm64"])),
            labels=draw(
                st.sampled_from(
                    [
                        {},
                        {"haversack.dev/unified-memory": "true"},
                        {"haversack.dev/accelerator-memory": "3Gi"},
                        {"haversack.dev/cost-per-hour": "2.5"},
                    ]
                )
            ),
        )
        for number in range(draw(st.integers(1, most)))
    ]


@st.composite
def demands(draw: st.DrawFn, most: int = 3) -> Demand:
    kinds: list[PeerKind] = []
    for number in range(draw(st.integers(1, most))):
        replicas = draw(st.integers(0, 3))
        kinds.append(
            a_kind(
                f"p{number}",
                first=kinds[-1].peers.stop if kinds else 0,
                replicas=replicas,
                minimum=min(replicas, draw(st.sampled_from([0, 0, 0, 1]))),
                cpu=draw(st.integers(1, 3)),
                memory=draw(st.integers(1, 5)),
                devices=draw(st.sampled_from([0, 0, 1, 2])),
                arch=draw(st.sampled_from([None, None, None, "arm64"])),
                candidates=SIZES,
            )
        )
    return a_demand(*kinds, gang=draw(st.integers(1, 2)), ring=draw(st.booleans()))


def solutions(problem: Problem) -> Iterator[Ints]:
    """Every matrix of counts that over-commits nothing and satisfies the gang."""
    shape = problem.capacity.shape
    for cells in product(*(range(most + 1) for most in problem.capacity.ravel().tolist())):
        counts = np.array(cells, np.int64).reshape(shape)
        whole = (counts.sum(axis=1) <= problem.want).all() and (problem.left(counts) >= 0).all()
        if whole and problem.satisfies_gang(counts):
            yield counts


def overcommitted(
    demand: Demand, nodes: list[Node], assignments: tuple[Assignment, ...]
) -> list[str]:
    """Nodes that hold more than they have, and peers on nodes that they do not fit; from scratch."""
    kinds = {kind.pool: kind for kind in demand.kinds}
    found = []
    for node in nodes:
        room = room_of(node)
        here = [kinds[one.pool] for one in assignments if one.node == node.name]
        devices = Counter[str]()
        for kind in here:
            if kind.devices:
                devices[kind.devices.resource_name] += kind.devices.count
        if (
            sum(kind.cpu_millis for kind in here) > room.cpu_millis
            or sum(memory_need(kind, unified=room.unified) for kind in here) > room.memory_bytes
            or any(number > room.devices(name) for name, number in devices.items())
            or any(misfits(kind, room) for kind in here)
        ):
            found.append(node.name)
    return found
