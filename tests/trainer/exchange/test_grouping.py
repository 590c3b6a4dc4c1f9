"""Who carries a round's blobs: the same for all who read the same log."""

from __future__ import annotations

from hub_harness import a_join, json_of
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.grouping import Grouping, pause_rounds
from haversack_trainer.exchange.log import RunState


def joined(peer: int, incarnation: str = "first") -> Record:
    return Record(Kind.JOIN, peer, 0, json_of(a_join(f"{incarnation}-{peer}")))


def started(*peers: int) -> RunState:
    state = RunState()
    for peer in peers:
        state.apply(joined(peer))
    state.apply(Record(Kind.START, peers[0], 0, json_of(Start())))
    return state


def close(state: RunState) -> None:
    for peer in state.view:
        state.apply(Record(Kind.PAYLOAD, peer, state.round, b"x"))


def broke(state: RunState, peer: int) -> None:
    state.apply(Record(Kind.REGROUP, peer, state.round, b"why"))


def is_whole(state: RunState) -> bool:
    return state.is_group_whole


def test_a_group_lasts_as_long_as_nobody_comes_or_goes() -> None:
    state = started(0, 1, 2)
    first = state.grouping
    assert list(first.members) == [0, 1, 2]
    assert is_whole(state)
    close(state)
    assert state.grouping.number == first.number
    state.apply(Record(Kind.LEAVE, 1, 0, b"unplugged"))
    assert not is_whole(state)
    assert list(state.grouping.members) == [0, 1, 2]
    close(state)
    assert (state.grouping.number, list(state.grouping.members)) == (first.number + 1, [0, 2])
    assert is_whole(state)


def test_a_newcomer_is_in_the_group_of_the_round_that_it_enters() -> None:
    state = started(0, 1)
    number = state.grouping.number
    state.apply(joined(2))
    assert is_whole(state)
    close(state)
    assert (state.grouping.number, state.grouping.members) == (number + 1, (0, 1, 2))


def test_a_new_process_of_a_peer_is_in_another_group() -> None:
    state = started(0, 1)
    number = state.grouping.number
    state.apply(joined(1, "second"))
    close(state)
    assert (state.grouping.number, state.grouping.members) == (number + 1, (0, 1))


def test_a_round_that_starts_over_has_another_group() -> None:
    state = started(0)
    number = state.grouping.number
    state.apply(Record(Kind.LEAVE, 0, 0, b"unplugged"))
    state.apply(joined(0, "second"))
    assert state.round == 0
    assert state.grouping.number > number
    assert is_whole(state)


def test_a_broken_group_is_followed_by_another() -> None:
    state = started(0, 1)
    number = state.grouping.number
    broke(state, 1)
    assert not is_whole(state)
    close(state)
    assert state.grouping.number == number + 1
    assert is_whole(state)
    assert state.grouping.is_tried


def test_only_a_member_s_word_on_the_open_round_counts() -> None:
    state = started(0, 1)
    state.apply(Record(Kind.REGROUP, 1, 1, b"why"))
    state.apply(Record(Kind.REGROUP, 7, 0, b"why"))
    state.apply(Record(Kind.REGROUP, 1, 0, b"\xff"))
    assert is_whole(state)


def test_a_group_that_breaks_again_and_again_is_tried_less_and_less_often() -> None:
    state, tried = started(0, 1), []
    while state.round < 32:
        if state.grouping.is_tried:
            tried.append(state.round)
            broke(state, 1)
        close(state)
    assert tried == [0, 1, 3, 7, 15, 31]
    close(state)
    assert pause_rounds(1) == 0
    assert pause_rounds(100) == 63


def test_one_good_round_is_enough_to_trust_a_group_again() -> None:
    grouping = Grouping(round=3, num_failures=2, first_round=3)
    assert grouping.opened(4, (0,), -1, broken=False).num_failures == 0
    paused = Grouping(round=3, num_failures=2, first_round=4)
    assert paused.opened(4, (0,), -1, broken=False).num_failures == 2


@given(st.lists(st.tuples(st.sampled_from("jlbp"), st.integers(0, 2)), max_size=30))
def test_a_whole_group_is_the_view_and_its_number_never_falls(story: list[tuple[str, int]]) -> None:
    state = started(0, 1, 2)
    for at, (what, peer) in enumerate(story):
        number = state.grouping.number
        match what:
            case "j":
                state.apply(joined(peer, str(at)))
            case "l":
                state.apply(Record(Kind.LEAVE, peer, 0, b"bye"))
            case "b":
                broke(state, peer)
            case _:
                close(state)
        assert state.grouping.number >= number
        if state.view and is_whole(state):
            assert state.grouping.members == state.view
            assert state.grouping.round == state.round
