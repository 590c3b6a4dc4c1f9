"""Rounds that the hub closes early, and payloads that come after."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_story import Story

from haversack_trainer.contract.records import HUB, MAX_LATE_ROUNDS, OPERATOR, Kind, Record
from haversack_trainer.exchange.log import RunState
from haversack_trainer.exchange.rounds import Late, Payload


def three() -> Story:
    return Story().join(0, 1, 2).start()


def test_a_deadline_closes_the_round_with_those_who_have_published() -> None:
    state = three().publish(0, 2, 0).deadline(0).state
    (closed,) = state.closed
    assert (closed.members, closed.missed) == ((0, 2), (1,))
    assert [payload.peer for payload in closed.payloads] == [0, 2]
    assert (state.view, state.round, state.published_in_round) == ((0, 1, 2), 1, frozenset())


def test_a_round_that_everybody_was_in_was_missed_by_nobody() -> None:
    assert three().publish(0, 0, 1, 2).state.closed[0].missed == ()


@pytest.mark.parametrize("round", [1, 7])
def test_a_deadline_of_another_round_changes_nothing(round: int) -> None:
    assert not three().publish(0, 0).deadline(round).state.closed


def test_a_second_deadline_of_the_same_round_changes_nothing() -> None:
    story = three().publish(0, 0).deadline(0).publish(1, 0)
    assert story.state.round == 1
    assert story.deadline(0).state.round == 1


def test_nobody_s_round_is_not_closed() -> None:
    assert not three().deadline(0).state.closed
    assert not Story().join(0).deadline(0).state.closed


@pytest.mark.parametrize("author", [0, 1, OPERATOR])
def test_only_the_hub_closes_a_round_early(author: int) -> None:
    assert not three().publish(0, 0).deadline(0, author).state.closed


def test_who_waits_enters_when_a_deadline_closes_the_round() -> None:
    state = three().join(3).publish(0, 0).deadline(0).state
    assert (state.view, state.pending) == ((0, 1, 2, 3), ())


def test_a_late_payload_keeps_its_round_and_goes_with_the_open_one() -> None:
    story = three().publish(0, 0, 2).deadline(0).publish(0, 1).publish(1, 0, 1, 2)
    closed = story.state.closed[1]
    assert closed.members == (0, 1, 2)
    assert closed.late == (Late(0, Payload(1, b"\x01")),)


def test_a_late_payload_counts_once() -> None:
    story = three().publish(0, 0, 2).deadline(0).publish(0, 1, 1).publish(1, 0, 1, 2)
    story.publish(0, 1).publish(2, 0, 1, 2)
    assert [len(closed.late) for closed in story.state.closed] == [0, 1, 0]


def test_who_was_in_a_round_cannot_add_to_it_later() -> None:
    story = three().publish(0, 0, 2).deadline(0).publish(0, 0).publish(1, 0, 1, 2)
    assert story.state.closed[1].late == ()


@pytest.mark.parametrize(("rounds", "counts"), [(MAX_LATE_ROUNDS, 1), (MAX_LATE_ROUNDS + 1, 0)])
def test_a_payload_that_is_too_late_is_ignored(rounds: int, counts: int) -> None:
    story = three()
    for number in range(rounds):
        story.publish(number, 0, 2).deadline(number)
    story.publish(0, 1).publish(rounds, 0, 2).deadline(rounds)
    assert len(story.state.closed[rounds].late) == counts


def test_what_a_peer_sent_late_goes_with_it() -> None:
    story = three().publish(0, 0, 2).deadline(0).publish(0, 1).leave(1).publish(1, 0, 2)
    assert story.state.closed[1].late == ()


def test_a_new_process_owes_nothing_of_the_old_one_s() -> None:
    story = three().publish(0, 0, 2).deadline(0).join(1, incarnation="new").publish(1, 0, 2)
    assert story.publish(0, 1).publish(2, 0, 1, 2).state.closed[2].late == ()


@given(st.permutations([(0, 0), (0, 3), (1, 0), (1, 3)]))
def test_late_payloads_have_one_order_whatever_order_they_come_in(
    arrivals: list[tuple[int, int]],
) -> None:
    story = Story().join(0, 1, 2, 3).start()
    for number in (0, 1):
        story.publish(number, 1, 2).deadline(number)
    for number, peer in arrivals:
        story.publish(number, peer)
    late = story.publish(2, 0, 1, 2, 3).state.closed[2].late
    assert [(each.round, each.payload.peer) for each in late] == [(0, 0), (0, 3), (1, 0), (1, 3)]


peers = st.integers(0, 3)
histories = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["join", "leave"]), peers),
        st.tuples(st.sampled_from(["publish", "publish ", "publish  ", "late"]), peers),
        st.tuples(st.just("deadline"), st.integers(-1, 1)),
    ),
    max_size=80,
)


def tell(history: list[tuple[str, int]]) -> tuple[list[Record], list[RunState]]:
    """Records of a history after the start of three peers, and the state after each."""
    story, states = three(), []
    state = story.state
    for event, number in history:
        match event.strip():
            case "join":
                story.join(number)
            case "leave":
                story.leave(number)
            case "publish":
                story.publish(state.round, number)
            case "late":
                missed = [c.round for c in state.closed if number in c.missed]
                story.publish(missed[-1] if missed else state.round, number)
            case "deadline":
                story.deadline(max(0, state.round + number))
        state = story.state
        states.append(state)
    return story.records, states


@settings(max_examples=80)
@given(histories)
def test_every_reader_agrees_and_no_promise_is_broken(history: list[tuple[str, int]]) -> None:
    records, states = tell(history)
    replica = three().state
    for record, state in zip(records[replica.num_records :], states, strict=True):
        before = replica.view
        replica.apply(record)
        assert replica == state
        if state.closed and state.closed[-1].position == state.num_records:
            closed = state.closed[-1]
            assert closed.payloads
            assert not set(closed.members) & set(closed.missed)
            assert set(closed.missed) <= set(state.view)
            assert {*closed.members, *closed.missed} <= set(before)
            assert not closed.missed or (record.kind, record.peer) == (Kind.DEADLINE, HUB)
    if states:
        late = [(each, closed) for closed in states[-1].closed for each in closed.late]
        assert len({(each.round, each.payload.peer) for each, _ in late}) == len(late)
        for each, closed in late:
            assert closed.round - MAX_LATE_ROUNDS <= each.round < closed.round
            assert each.payload.peer in states[-1].closed[each.round].missed


@settings(max_examples=40)
@given(histories)
def test_a_deadline_that_is_written_twice_closes_once(history: list[tuple[str, int]]) -> None:
    """As a hub may that came back."""
    records, states = tell(history)
    twice = RunState()
    for record in records:
        twice.apply(record)
        if record.kind is Kind.DEADLINE:
            twice.apply(record)
    if states:
        assert [c.members for c in twice.closed] == [c.members for c in states[-1].closed]
