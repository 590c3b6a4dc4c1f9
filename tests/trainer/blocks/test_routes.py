"""Who sends what to whom, where the groups of a model are on several processes."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.blocks import Op
from haversack_trainer.blocks.routes import (
    Hosts,
    Kind,
    Transfer,
    num_transfers,
    of_process,
    transfers,
)

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP
Case = tuple[list[list[Op]], Hosts, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Operations of a micro-batch, any placement, one to three parts to a layer."""
    num_layers, num_groups = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    size = draw(st.integers(1, 4))

    def table(cells: st.SearchStrategy[object]) -> list[list[object]]:
        row = st.lists(cells, min_size=num_groups, max_size=num_groups)
        return draw(st.lists(row, min_size=num_layers, max_size=num_layers))

    ops: list[list[Op]] = table(st.sampled_from(Op))  # type: ignore[assignment]
    of: list[list[int]] = table(st.integers(0, size - 1))  # type: ignore[assignment]
    return ops, Hosts(tuple(map(tuple, of)), size), draw(st.integers(1, 3))


@given(cases(), st.booleans())
def test_nobody_waits_for_ever_though_every_send_waits_for_its_receiver(
    case: Case, backward: bool
) -> None:
    ops, hosts, num_parts = case
    sequence = transfers(ops, hosts, num_parts, backward=backward)
    lists = [deque(of_process(sequence, rank)) for rank in range(hosts.num_processes)]
    met: list[Transfer] = []
    while any(lists):
        ready = {
            mine[0]
            for rank, mine in enumerate(lists)
            if mine and rank == mine[0].sender and lists[mine[0].receiver][0] == mine[0]
        }
        assert ready, [list(mine) for mine in lists]
        for one in ready:
            assert lists[one.sender].popleft() == lists[one.receiver].popleft() == one
            met.append(one)
    assert Counter(met) == Counter(sequence)
    assert len(set(sequence)) == len(sequence)


@given(cases(), st.booleans())
def test_as_much_is_sent_as_is_modelled(case: Case, backward: bool) -> None:
    ops, hosts, num_parts = case
    sequence = transfers(ops, hosts, num_parts, backward=backward)
    assert len(sequence) == num_transfers(ops, hosts, num_parts, backward=backward)


@given(cases())
def test_gradients_go_to_those_with_groups_in_full_only(case: Case) -> None:
    ops, hosts, num_parts = case
    sequence = transfers(ops, hosts, num_parts, backward=True)
    for rank in range(1, hosts.num_processes):
        for layer, row in enumerate(ops):
            own = set(hosts.ops(layer, rank, row))
            kinds = {one.kind for one in sequence if (one.layer, one.other) == (layer, rank)}
            forward = {Kind.HIDDEN, Kind.SUM} if own - {SKIP} else set()
            back = {Kind.SUM_GRADIENT, Kind.HIDDEN_GRADIENT} if FULL in own else set()
            assert kinds == forward | back


@pytest.mark.parametrize(("num_full", "num_forward"), [(2, 1), (3, 0), (0, 3)])
def test_with_a_group_to_a_process_it_is_the_papers_formula(
    num_full: int, num_forward: int
) -> None:
    row = [SKIP] + [FULL] * num_full + [FORWARD] * num_forward
    found = num_transfers([row], Hosts(((0, 1, 2, 3),), 4), 1, backward=True)
    assert found == 4 * num_full + 2 * num_forward


def test_a_layer_is_done_before_the_next_begins_and_undone_after_it() -> None:
    sequence = transfers([[FULL, FULL]] * 2, Hosts.even(2, 2, 2), 2, backward=True)
    places = [(one.layer, one.part) for one in sequence]
    half = len(places) // 2
    assert places[:half] == sorted(places[:half])
    assert places[half:] == sorted(places[half:], reverse=True)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 8))
def test_groups_are_dealt_evenly(num_layers: int, num_groups: int, size: int) -> None:
    hosts = Hosts.even(num_layers, num_groups, size)
    for layer in range(num_layers):
        counts = [len(hosts.groups(layer, rank)) for rank in range(size)]
        assert sum(counts) == num_groups
        assert max(counts) - min(counts) <= 1
    total = [sum(len(hosts.groups(n, rank)) for n in range(num_layers)) for rank in range(size)]
    assert num_layers % size or len(set(total)) == 1
