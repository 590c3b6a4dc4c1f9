"""Scalars that missed their round's deadline: along their own directions, or not at all."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from log_story import Story

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.methods.spsa.codec import encode
from haversack_trainer.methods.spsa.directions import Signs
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.update import update_of
from haversack_trainer.methods.spsa.words import key

SEED = 17
TWO = Settings(directions=2, learning_rate="0.5", scale_with_peers=False)


def scalars_of(round: int, peer: int) -> Record:
    exponent, codes = encode([1.0 + round, -1.0 - peer])
    return Record(Kind.PAYLOAD, peer, round, codes, exponent)


def rounds(*arrivals: tuple[int, int]) -> list[ClosedRound]:
    """Four peers; 3 misses round 0 and 2 misses round 1. ``arrivals`` come while round 2 is open."""
    story = Story().join(0, 1, 2, 3).start()
    story.records += [scalars_of(0, peer) for peer in (0, 1, 2)]
    story.deadline(0)
    story.records += [scalars_of(1, peer) for peer in (0, 1, 3)]
    story.deadline(1)
    story.records += [scalars_of(*arrival) for arrival in arrivals]
    return story.deadline(2).state.closed


def keys(closed: ClosedRound, settings: Settings) -> list[int]:
    return [term.key for term in update_of(closed, SEED, settings).terms]


def test_a_late_scalar_keeps_the_directions_that_it_was_measured_along() -> None:
    settings = TWO.model_copy(update={"late_rounds": 2})
    closed = rounds((2, 0), (1, 2), (0, 3))[2]
    wanted = [(0, 3), (1, 2), (2, 0)]
    assert keys(closed, settings) == [key(SEED, t, m, j) for t, m in wanted for j in (0, 1)]


@pytest.mark.parametrize(("late_rounds", "count"), [(0, 1), (1, 2), (2, 3), (8, 3)])
def test_what_is_later_than_the_setting_allows_is_dropped(late_rounds: int, count: int) -> None:
    settings = TWO.model_copy(update={"late_rounds": late_rounds})
    closed = rounds((2, 0), (1, 2), (0, 3))[2]
    update = update_of(closed, SEED, settings)
    assert len(update.terms) == 2 * count
    on_time = update.terms[-2]
    # g = 3 along the first direction, and the mean is over all that are applied.
    assert on_time.coefficient == pytest.approx(-0.5 * 3 / (2 * count), rel=0.05)


def test_the_order_of_arrival_does_not_matter() -> None:
    settings = TWO.model_copy(update={"late_rounds": 2})
    arrivals = [(2, 0), (2, 1), (1, 2), (0, 3)]
    ends = set()
    for order in permutations(arrivals):
        theta = torch.linspace(-1, 1, 100)
        for closed in rounds(*order):
            update_of(closed, SEED, settings).apply(theta, 0, Signs(100))
        ends.add(theta.numpy().tobytes())
    assert len(ends) == 1


def test_a_round_of_late_scalars_alone_is_a_step() -> None:
    story = Story().join(0, 1).start()
    story.records.append(scalars_of(0, 0))
    story.deadline(0)
    story.records += [scalars_of(0, 1), Record(Kind.PAYLOAD, 0, 1), Record(Kind.PAYLOAD, 1, 1)]
    assert keys(story.state.closed[1], TWO) == [key(SEED, 0, 1, j) for j in (0, 1)]
