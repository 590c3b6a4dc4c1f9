"""A member may end the run with the open round."""

from __future__ import annotations

import pytest
from log_story import Story

from haversack_trainer.contract.membership import Ending
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.exchange.log import RunState

ENDING = Ending(reason="enough", publishes=False)


def after(story: Story) -> RunState:
    state = RunState()
    for record in story.records:
        state.apply(record)
    return state


def test_the_open_round_becomes_the_last() -> None:
    state = after(Story().join(0, 1).start().publish(0, 0, 1).say(Kind.ENDING, ENDING, peer=1))
    assert state.ending == ENDING
    assert (state.rounds(100), state.rounds(1)) == (2, 1)


def test_the_first_word_counts() -> None:
    story = Story().join(0, 1).start().say(Kind.ENDING, ENDING, peer=1).publish(0, 0, 1)
    story.say(Kind.ENDING, ENDING.model_copy(update={"publishes": True}))
    state = after(story)
    assert state.ending == ENDING
    assert state.rounds(100) == 1


@pytest.mark.parametrize("peer", [2, OPERATOR])
def test_only_a_members_word_counts(peer: int) -> None:
    state = after(Story().join(0, 1).start().join(2).say(Kind.ENDING, ENDING, peer=peer))
    assert state.ending is None
    assert state.rounds(100) == 100


def test_before_the_start_there_is_nothing_to_end() -> None:
    state = after(Story().join(0, 1).say(Kind.ENDING, ENDING))
    assert state.ending is None


def test_what_cannot_be_read_ends_nothing() -> None:
    state = after(Story().join(0).start())
    state.apply(Record(Kind.ENDING, 0, 0, b"{}"))
    assert state.ending is None
    assert state.num_unreadable == 1
