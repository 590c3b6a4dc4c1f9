"""What several writers told of a run, as one story."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.report import Evaluation
from haversack_trainer.report.events import (
    Decided,
    Evaluated,
    Event,
    PeerJoined,
    PeerLeft,
    RoundClosed,
    RunStarted,
    StoodIn,
)
from haversack_trainer.report.merge import merged
from haversack_trainer.report.story import tell

TIMES = st.floats(0, 100)
ROUNDS = st.integers(0, 6)


def closed(number: int, time: float, losses: dict[int, float | None], size: int) -> RoundClosed:
    return RoundClosed(time=time, round=number, members=(0, 1), losses=losses, payload_bytes=size)


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(RunStarted, time=TIMES, run=st.just("r"), round=ROUNDS, peers=st.just((0, 1))),
    st.builds(PeerJoined, time=TIMES, peer=st.integers(0, 2), round=ROUNDS),
    st.builds(PeerLeft, time=TIMES, peer=st.integers(0, 2), round=ROUNDS),
    st.builds(closed, ROUNDS, TIMES, st.dictionaries(st.integers(0, 1), TIMES), st.integers(0, 9)),
)
STORIES = st.lists(st.lists(EVENTS, max_size=8), max_size=3)


def a_round(number: int, time: float, *, size: int = 100, **losses: float) -> RoundClosed:
    told = {int(peer.removeprefix("peer")): loss for peer, loss in losses.items()}
    return closed(number, time, dict(told), size)


def test_a_newcomers_poor_rounds_are_filled_in_by_who_was_there() -> None:
    first = [a_round(0, 10, peer0=0.9, peer1=0.8), a_round(1, 20, peer0=0.7)]
    newcomer = [a_round(0, 31, size=1), a_round(1, 31, size=1, peer1=0.6), a_round(2, 40)]
    assert merged([newcomer, first]) == [
        a_round(0, 10, peer0=0.9, peer1=0.8),
        a_round(1, 20, peer0=0.7, peer1=0.6),
        a_round(2, 40),
    ]


def test_rounds_that_only_a_newcomer_tells_of_are_not_late() -> None:
    story = tell(merged([[a_round(0, 50), a_round(1, 50)], [a_round(2, 20), a_round(1, 15)]]))
    assert [number for number, _ in story.traffic] == [0, 1, 2]
    assert (story.began, story.ended) == (15, 20)


def test_an_evaluation_of_an_earlier_leader_is_kept() -> None:
    early = Evaluated(time=5, evaluation=Evaluation(round=3, loss=1.0, num_samples=9))
    late = Evaluated(time=9, evaluation=Evaluation(round=6, loss=0.5, num_samples=9))
    assert merged([[late], [early, late]]) == [early, late]


@given(STORIES)
def test_nothing_is_lost_told_twice_or_dependent_on_who_is_asked_first(
    stories: list[list[Event]],
) -> None:
    whole = merged(stories)
    kinds = [(e.kind, getattr(e, "peer", None), getattr(e, "round", None)) for e in whole]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == {
        (e.kind, getattr(e, "peer", None), getattr(e, "round", None))
        for story in stories
        for e in story
    }
    rounds = [e.round for e in whole if isinstance(e, RoundClosed)]
    assert rounds == sorted(rounds)
    assert merged([whole]) == whole


@given(STORIES)
def test_the_story_of_a_merged_run_counts_every_round(stories: list[list[Event]]) -> None:
    told = {e.round for story in stories for e in story if isinstance(e, RoundClosed)}
    assert [number for number, _ in tell(merged(stories)).traffic] == sorted(told)


def test_two_remarks_of_a_round_are_both_kept_and_one_that_all_tell_is_told_once() -> None:
    told = [Decided(time=float(n), round=3, remark=word) for n, word in enumerate("aba")]
    assert [event.remark for event in merged([told]) if isinstance(event, Decided)] == ["a", "b"]


def test_one_happening_of_a_peer_in_a_round_is_told_once_though_others_had_the_same_in_it() -> None:
    told = [
        StoodIn(time=float(n), round=number, peer=peer, reason="too few")
        for n, (number, peer) in enumerate([(3, 0), (3, 1), (3, 0), (4, 0)])
    ]
    found = [(event.round, event.peer) for event in merged([told]) if isinstance(event, StoodIn)]
    assert found == [(3, 0), (3, 1), (4, 0)]
