"""Checkpoints, evaluations, the verdict and the publication: whose word counts, and when."""

from __future__ import annotations

import pytest
from checkpoint_cases import a_verdict
from log_story import Story

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.contract.report import PeerScores, Publication
from haversack_trainer.exchange.log import RunState

VERDICT = a_verdict(1)
FIGURES = VERDICT.after
PUBLISHED = Publication(uri="file:///a", digest="d", size_bytes=1, round=1)
CHECKPOINT = CheckpointRef(round=1, key="k", digest="d")
WORDS: list[tuple[Kind, Frozen]] = [
    (Kind.CHECKPOINT, CHECKPOINT),
    (Kind.EVALUATION, FIGURES),
    (Kind.VERDICT, VERDICT),
    (Kind.PUBLISHED, PUBLISHED),
]


def one_round() -> Story:
    return Story().join(0, 1).start().publish(0, 0, 1)


def words(state: RunState) -> list[Frozen]:
    said = (state.checkpoint, state.evaluation, state.verdict, state.publication)
    return [word for word in said if word is not None]


def test_the_first_verdict_and_publication_count() -> None:
    story = one_round().say(Kind.EVALUATION, FIGURES).say(Kind.VERDICT, VERDICT)
    story.say(Kind.VERDICT, VERDICT.model_copy(update={"passed": False}))
    story.say(Kind.PUBLISHED, PUBLISHED)
    story.say(Kind.PUBLISHED, PUBLISHED.model_copy(update={"uri": "file:///b"}))
    assert words(story.state) == [FIGURES, VERDICT, PUBLISHED]


@pytest.mark.parametrize(("kind", "word"), WORDS)
def test_the_leader_s_words_count_from_the_leader_only(kind: Kind, word: Frozen) -> None:
    before = one_round()
    if kind is Kind.PUBLISHED:
        before.say(Kind.VERDICT, VERDICT)
    told = words(before.state)
    assert words(before.say(kind, word, peer=1).state) == told
    assert words(before.leave(0).say(kind, word, peer=1).state) == [*told, word]


@pytest.mark.parametrize(("kind", "word"), WORDS)
@pytest.mark.parametrize("round", [-1, 2, 10**9])
def test_no_word_counts_of_a_round_that_is_not_closed(kind: Kind, word: Frozen, round: int) -> None:
    story = one_round().say(Kind.VERDICT, VERDICT) if kind is Kind.PUBLISHED else one_round()
    told = words(story.state)
    assert words(story.say(kind, word.model_copy(update={"round": round})).state) == told


def test_no_word_counts_before_the_start() -> None:
    story = Story().join(0)
    for kind, word in WORDS:
        story.say(kind, word.model_copy(update={"round": 0}))
    assert not words(story.state)


def test_nothing_is_published_that_did_not_pass() -> None:
    assert one_round().say(Kind.PUBLISHED, PUBLISHED).state.publication is None
    failed = one_round().say(Kind.VERDICT, VERDICT.model_copy(update={"passed": False}))
    assert failed.say(Kind.PUBLISHED, PUBLISHED).state.publication is None


def test_where_the_job_asks_for_it_nothing_is_published_unapproved() -> None:
    story = one_round().say(Kind.VERDICT, VERDICT).say(Kind.PUBLISHED, PUBLISHED)
    asking = RunState(needs_approval=True)
    for record in story.records:
        asking.apply(record)
    assert asking.publication is None
    asking.apply(Record(Kind.APPROVAL, OPERATOR, 0, b"somebody"))
    assert asking.publication is None
    asking.apply(story.records[-1])
    assert asking.publication == PUBLISHED


SCORES = PeerScores(personal=FIGURES, common=FIGURES)


def test_every_member_s_scores_count_and_stay_when_it_leaves() -> None:
    story = one_round().say(Kind.SCORES, SCORES, peer=1).leave(1).say(Kind.SCORES, SCORES)
    assert story.state.scores == {0: SCORES, 1: SCORES}


def test_nobody_s_scores_count_who_is_no_member_or_of_a_round_to_come() -> None:
    later = SCORES.model_copy(update={"common": FIGURES.model_copy(update={"round": 2})})
    before = Story().join(0, 1).say(Kind.SCORES, SCORES.model_copy())
    assert before.state.scores == {}
    assert one_round().say(Kind.SCORES, SCORES, peer=7).state.scores == {}
    assert one_round().say(Kind.SCORES, later, peer=1).state.scores == {}
