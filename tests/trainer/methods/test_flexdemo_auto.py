"""``scheme: Auto``: what is chosen over which line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.methods.flexdemo.auto import ROOM, Measured, choose, together
from haversack_trainer.methods.flexdemo.settings import Scheme

WEIGHTS = 40_000_000


def payload_bytes(changes: Mapping[str, Any]) -> int:
    """Close to the real formula: two bytes a value, one an index."""
    match changes["scheme"]:
        case Scheme.DEMO:
            return 3 * WEIGHTS * int(changes["top_k"]) // 64
        case Scheme.RANDOM:
            return round(2 * WEIGHTS * float(changes["rate"]))
        case _:
            return 2 * WEIGHTS


def line(
    megabits: float, step_seconds: float = 1.0, small_seconds: float = 0.02, num_nodes: int = 2
) -> Measured:
    """As peers would measure it: up with the own bytes, down with those of the others."""
    bulk_bytes = 1_000_000
    seconds = num_nodes * bulk_bytes / (megabits * 1e6 / 8)
    return Measured(step_seconds, small_seconds, small_seconds + seconds, bulk_bytes)


@pytest.mark.parametrize(
    ("measured", "scheme", "delay"),
    [
        (line(1e6), Scheme.FULL, 0),
        (line(3000), Scheme.FULL, 1),
        (line(1000), Scheme.DEMO, 1),
        (line(100), Scheme.RANDOM, 1),
        (line(20), Scheme.DILOCO, 0),
        (line(100, step_seconds=10), Scheme.DEMO, 1),
        (line(1e5, step_seconds=100), Scheme.FULL, 0),
        (line(1e9, step_seconds=0.01, small_seconds=0.5), Scheme.DILOCO, 0),
    ],
)
def test_the_richest_exchange_that_hides(measured: Measured, scheme: Scheme, delay: int) -> None:
    choice = choose(measured, payload_bytes, with_full=True)
    assert (choice.changes["scheme"], choice.delay) == (scheme, delay)


def test_more_nodes_leave_less_room() -> None:
    """Everybody gathers what all others publish."""
    few, many = (
        choose(line(1e4, 3, num_nodes=nodes), payload_bytes, with_full=True).changes
        for nodes in (2, 64)
    )
    assert few["scheme"] is Scheme.FULL
    assert payload_bytes(many) < payload_bytes(few)


def test_without_indices_a_thinner_line_will_do() -> None:
    demo, random = (choose(line(rate), payload_bytes, with_full=True).changes for rate in (70, 60))
    assert (demo["scheme"], demo["top_k"]) == (Scheme.DEMO, 2)
    assert (random["scheme"], random["rate"]) == (Scheme.RANDOM, 1 / 32)


@given(
    megabits=st.floats(1, 1e5),
    step_seconds=st.floats(0.01, 100),
    small_seconds=st.floats(0.0001, 1),
    num_nodes=st.integers(2, 64),
)
def test_what_is_chosen_hides_or_is_rare(
    megabits: float, step_seconds: float, small_seconds: float, num_nodes: int
) -> None:
    measured = line(megabits, step_seconds, small_seconds, num_nodes)
    choice = choose(measured, payload_bytes, with_full=True)
    assert choice.exchange_seconds == measured.exchange_seconds(payload_bytes(choice.changes))
    if choice.changes["scheme"] is Scheme.DILOCO:
        assert 10 <= choice.changes["sync_every"] <= 500
    else:
        assert choice.exchange_seconds <= ROOM * step_seconds
    assert choice.changes["scheme"] in choice.reason


@given(megabits=st.floats(1, 1e4), faster=st.floats(1, 100))
def test_a_better_line_never_leads_to_fewer_bytes(megabits: float, faster: float) -> None:
    thin, thick = (
        choose(line(rate), payload_bytes, with_full=True) for rate in (megabits, megabits * faster)
    )
    if thick.changes["scheme"] is Scheme.DILOCO:
        assert thin.changes["scheme"] is Scheme.DILOCO
    elif thin.changes["scheme"] is not Scheme.DILOCO:
        assert payload_bytes(thin.changes) <= payload_bytes(thick.changes)


def test_waiting_for_a_slower_peer_is_not_taken_for_a_thin_line() -> None:
    fast, slow = Measured(1, 2.1, 2.6, 1000), Measured(3, 0.1, 0.6, 1000)
    assert together([fast, slow]) == Measured(2, 0.1, 0.6, 1000)
    with pytest.raises(ValueError, match="measured"):
        together([])


def test_signs_of_a_gradient_alone_are_not_a_choice() -> None:
    """Full keeps no momentum; with update Sign the richest is DeMo at its highest rate."""
    choice = choose(line(1e6), payload_bytes, with_full=False)
    assert (choice.changes["scheme"], choice.changes["top_k"]) == (Scheme.DEMO, 16)
