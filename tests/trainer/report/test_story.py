"""From events to series, and from series to places on paper."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st
from report_cases import ROUNDS, some_events

from haversack_trainer.report.events import Evaluated, PeerJoined, PeerLeft, RoundClosed
from haversack_trainer.report.story import mean_loss, tell, thinned
from haversack_trainer.report.svg import Scale, round_ticks, ticks

FINITE = st.floats(-1e12, 1e12)


def a_round(round: int, *members: int, loss: float | None = 1.0) -> RoundClosed:
    return RoundClosed(
        time=float(round),
        round=round,
        members=members,
        losses=dict.fromkeys(members, loss),
        payload_bytes=10,
    )


def test_stays_are_told_from_the_members() -> None:
    story = tell(some_events())
    assert story.spans == {0: [(0, 39)], 1: [(0, 39)], 2: [(0, 13), (22, 39)], 3: [(0, 39)]}
    assert [mark.text for mark in story.left] == ["Peer 2 left in round 14: lease expired"]
    assert [mark.text for mark in story.joined] == ["Peer 2 joined on pi-rack-4 for round 22"]
    assert (story.rounds, story.began, story.ended) == ((0, ROUNDS - 1), 1000.0, 1190.0)


def test_what_is_waited_for_is_not_hidden() -> None:
    timed = {"exchange_seconds": 4.0, "waited_seconds": 0.5}
    rounds = [a_round(0, 0), *(a_round(at, 0).model_copy(update=timed) for at in (1, 2))]
    assert (tell(rounds).num_timed, tell(rounds).hidden) == (2, 0.875)
    slow = a_round(3, 0).model_copy(update={"exchange_seconds": 0.0, "waited_seconds": 9.0})
    assert tell([*rounds, slow]).hidden == 0.0
    assert tell([]).hidden == 0.0


def test_a_round_that_was_written_twice_counts_once() -> None:
    story = tell([a_round(0, 0, 1), a_round(1, 0, 1), a_round(0, 0), a_round(1, 0), a_round(2, 0)])
    assert story.traffic == [(0, 10.0), (1, 10.0), (2, 10.0)]
    assert story.spans == {0: [(0, 2)], 1: [(0, 1)]}


def test_losses_that_are_not_finite_leave_a_gap() -> None:
    story = tell(
        [a_round(0, 0), a_round(1, 0, loss=None), a_round(2, 0, loss=math.inf), a_round(3, 0)]
    )
    assert story.trained == {0: [(0, 1.0), (3, 1.0)]}


def test_the_mean_is_over_those_who_told() -> None:
    events = [
        RoundClosed(time=0.0, round=0, members=(0, 1), losses={0: 1.0, 1: 3.0}, payload_bytes=0),
        RoundClosed(time=1.0, round=1, members=(0, 1), losses={1: 5.0}, payload_bytes=0),
    ]
    assert mean_loss(tell(events)) == [(0, 2.0), (1, 5.0)]


@given(st.lists(FINITE, max_size=50), st.integers(1, 20))
def test_thinning_keeps_extent_and_order(values: list[float], at_most: int) -> None:
    points = list(enumerate(values))
    thin = thinned(points, at_most)
    assert len(thin) <= max(at_most, 0)
    assert [at for at, _ in thin] == sorted({at for at, _ in thin})
    slack = 1e-9 * max((abs(value) for value in values), default=0)
    assert all(min(values) - slack <= value <= max(values) + slack for _, value in thin)


@given(FINITE, st.floats(1e-6, 1e12), st.integers(2, 10))
@example(low=68719476736.0, extent=2.0**-14, about=7)
def test_ticks_are_few_and_inside(low: float, extent: float, about: int) -> None:
    high = low + extent
    found = ticks(low, high, about)
    assert len(found) <= about + 1
    slack = 1e-6 * max(abs(low), abs(high), extent)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(set(found))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_rounds_are_ticked_by_whole_numbers(first: int, extent: int) -> None:
    found = round_ticks(first, first + extent)
    assert found
    assert all(first <= tick <= first + extent for tick in found)


def test_a_scale_without_extent_puts_all_in_the_middle() -> None:
    assert Scale(3, 3, 0, 100)(3) == 50
    assert Scale(0, 10, 100, 0)(2.5) == 75


def test_events_of_others_do_not_disturb() -> None:
    events = [
        event for event in some_events() if isinstance(event, Evaluated | PeerJoined | PeerLeft)
    ]
    story = tell(events)
    assert story.rounds == (0, 0)
    assert len(story.held_out) == 8
