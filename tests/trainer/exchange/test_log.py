"""The replicated state machine, by its rules and by properties of any history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_story import Story

from haversack_trainer.contract.membership import CheckpointRef, Start
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.exchange.log import RunState


def test_joins_gather_until_the_lowest_member_starts() -> None:
    story = Story().join(2, 1)
    assert (story.state.view, story.state.leader, story.state.start) == ((1, 2), 1, None)
    assert story.start(peer=2).state.start is None
    assert story.start(peer=1, round=7).state.round == 7
    assert story.start(peer=1, round=9).state.round == 7


def test_a_round_closes_once_all_members_have_published() -> None:
    story = Story().join(1, 0, 2).start().publish(0, 2, 0)
    assert not story.state.closed
    assert story.state.published_in_round == {0, 2}
    state = story.publish(0, 1).state
    (closed,) = state.closed
    assert (closed.members, closed.position) == ((0, 1, 2), len(story.records))
    assert [payload.body for payload in closed.payloads] == [b"\x00", b"\x01", b"\x02"]
    assert (state.round, state.published_in_round) == (1, frozenset())
    assert state.closed_round(0) == closed
    assert (state.closed_round(1), state.closed_round(-1)) == (None, None)


def test_a_joiner_waits_for_the_round_to_close() -> None:
    story = Story().join(0, 1).start().join(2).publish(0, 2, 0)
    assert (story.state.view, story.state.pending) == ((0, 1), (2,))
    state = story.publish(0, 1).state
    assert (state.closed[0].members, state.view, state.pending) == ((0, 1), (0, 1, 2), ())


def test_a_leave_counts_at_once_and_may_close_the_round() -> None:
    story = Story().join(0, 1, 2).start().publish(0, 0, 1, 1).leave(2)
    assert story.state.closed[0].members == (0, 1)


def test_what_a_peer_published_before_it_left_is_dropped() -> None:
    state = Story().join(0, 1).start().publish(0, 1).leave(1).publish(0, 0).state
    assert state.closed[0].members == (0,)


def test_a_new_process_of_a_member_leaves_and_waits() -> None:
    story = Story().join(0, 1).start().publish(0, 1).join(1, incarnation="new")
    assert (story.state.view, story.state.pending) == ((0,), (1,))
    assert story.state.joins[1].incarnation == "new1"
    state = story.publish(0, 0).state
    assert (state.closed[0].members, state.view) == ((0,), (0, 1))


def test_an_empty_view_is_filled_by_who_waits_and_the_round_starts_over() -> None:
    story = Story().join(0).start().publish(0, 0).join(1, 2).leave(0)
    assert (story.state.view, story.state.round) == ((1, 2), 1)
    alone = Story().join(0).start().leave(0)
    assert alone.state.view == ()
    again = alone.join(3)
    assert (again.state.view, again.state.round) == ((3,), 0)
    assert again.publish(0, 3).state.closed[0].members == (3,)


def test_the_only_member_restarts_and_goes_on() -> None:
    state = Story().join(0).start().publish(0, 0).join(0, incarnation="new").publish(1, 0).state
    assert [closed.members for closed in state.closed] == [(0,), (0,)]


@pytest.mark.parametrize("round", [1, 5])
def test_payloads_for_another_round_are_ignored(round: int) -> None:
    assert not Story().join(0).start().publish(round, 0).state.closed


def test_the_second_payload_of_a_peer_is_ignored() -> None:
    story = Story().join(0, 1).start().publish(0, 0)
    story.records.append(Record(Kind.PAYLOAD, 0, 0, b"other"))
    assert story.publish(0, 1).state.closed[0].payloads[0].body == b"\x00"


def test_start_carries_a_checkpoint_and_older_ones_do_not_replace_it() -> None:
    ref = CheckpointRef(round=4, key="k", digest="d")
    story = Story().join(0).say(Kind.START, Start(round=4, checkpoint=ref))
    assert story.state.checkpoint == ref
    assert story.say(Kind.CHECKPOINT, ref.model_copy(update={"round": 3})).state.checkpoint == ref
    newer = ref.model_copy(update={"round": 5})
    assert story.publish(4, 0).say(Kind.CHECKPOINT, newer).state.checkpoint == newer


def test_only_the_operator_s_approval_counts() -> None:
    story = Story().join(0).start()
    story.records.append(Record(Kind.APPROVAL, 0, 0, b"myself"))
    assert story.state.approved_by is None
    story.records.append(Record(Kind.APPROVAL, OPERATOR, 0, b"somebody"))
    assert story.state.approved_by == "somebody"


@pytest.mark.parametrize("kind", [Kind.JOIN, Kind.START, Kind.LEAVE, Kind.VERDICT, Kind.APPROVAL])
def test_unreadable_bodies_are_counted_and_change_nothing(kind: Kind) -> None:
    story = Story().join(0, 1)
    before = story.state
    story.records.append(Record(kind, 0, 0, b"\xff{"))
    after = story.state
    assert after.num_unreadable == 1
    after.num_unreadable, after.num_records = 0, before.num_records
    assert after == before


def test_the_history_tells_who_came_and_went() -> None:
    state = Story().join(0, 1).start().join(2).leave(1).publish(0, 0).state
    told = [
        (change.position, change.peer, change.joined, change.reason) for change in state.history
    ]
    assert told == [
        (1, 0, True, ""),
        (2, 1, True, ""),
        (5, 1, False, "lease expired"),
        (6, 2, True, ""),
    ]


peers = st.integers(0, 4)
histories = st.lists(
    st.one_of(
        st.tuples(st.just("join"), peers),
        st.tuples(st.just("leave"), peers),
        st.tuples(st.just("start"), peers),
        st.tuples(st.sampled_from(["publish"]), peers),
        st.tuples(st.sampled_from(["publish"]), peers),
        st.tuples(st.just("noise"), peers),
    ),
    max_size=60,
)


def tell(history: list[tuple[str, int]]) -> tuple[list[Record], list[RunState]]:
    """Records of a history in which peers publish for the open round, and all states on the way."""
    state, story, states = RunState(), Story(), []
    for event, peer in history:
        match event:
            case "join":
                story.join(peer)
            case "leave":
                story.leave(peer)
            case "start":
                story.start(peer)
            case "publish":
                story.publish(state.round, peer)
            case _:
                story.records.append(Record(Kind.EVALUATION, peer, 0, b"noise"))
        state.apply(story.records[-1])
        replica = RunState()
        for record in story.records:
            replica.apply(record)
        states.append(replica)
    return story.records, states


@settings(max_examples=150)
@given(histories)
def test_every_history_keeps_the_promises(history: list[tuple[str, int]]) -> None:
    records, states = tell(history)
    for state in states:
        assert list(state.view) == sorted(set(state.view))
        assert not set(state.view) & set(state.pending)
        assert state.published_in_round <= set(state.view)
        assert state.start is None or state.view or not state.pending
        assert [closed.round for closed in state.closed] == list(range(len(state.closed)))
        assert state.round == len(state.closed)
        for closed in state.closed:
            assert closed.members == tuple(payload.peer for payload in closed.payloads)
            assert closed.members == tuple(sorted(set(closed.members)))
            before = states[closed.position - 2]
            assert set(closed.members) <= set(before.view)
    if states:
        assert states[-1].num_records == len(records)
        joined = {c.peer for c in states[-1].history if c.joined}
        assert set(states[-1].view) <= joined


@settings(max_examples=60)
@given(histories)
def test_replicas_of_the_same_records_are_equal(history: list[tuple[str, int]]) -> None:
    records, states = tell(history)
    replica = RunState()
    for record, state in zip(records, states, strict=True):
        replica.apply(record)
        assert replica == state
