"""Scalars to a step: weights, scaling, clipping, rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.methods.spsa.codec import decode
from haversack_trainer.methods.spsa.settings import Settings, Weighting
from haversack_trainer.methods.spsa.update import update_of

SEED = 17


@pytest.mark.parametrize(
    ("settings", "coefficients"),
    [
        (Settings(directions=2, learning_rate="0.5", scale_with_peers=False), (-1.0, 0.5)),
        (Settings(directions=2, learning_rate="0.5"), (-2.0, 1.0)),
        (
            Settings(
                directions=2, learning_rate="0.5", weighting=Weighting.SUM, scale_with_peers=False
            ),
            (-2, 1),
        ),
        (
            Settings(
                directions=2, learning_rate="0.5", weighting=Weighting.SQRT, scale_with_peers=False
            ),
            (-math.sqrt(2), math.sqrt(0.5)),
        ),
        (
            Settings(directions=2, learning_rate="0.5", clip_median="1", scale_with_peers=False),
            (-0.75, 0.5),
        ),
    ],
)
def test_weighting_scaling_and_clipping(
    settings: Settings, coefficients: tuple[float, ...]
) -> None:
    closed = ClosedRound(0, (3,), (Payload(3, bytes([127, 128 + 119]), 16),), 1)
    assert decode(16, closed.payloads[0].body) == [4.0, -2.0]
    terms = update_of(closed, SEED, settings).terms
    assert [t.coefficient for t in terms] == pytest.approx(coefficients)


def test_the_learning_rate_grows_with_up_to_sixteen_directions() -> None:
    def step(count: int) -> float:
        settings = Settings(directions=count, learning_rate="0.5", weighting=Weighting.SUM)
        closed = ClosedRound(0, (0,), (Payload(0, bytes([127] * count)),), 1)
        return -update_of(closed, SEED, settings).terms[0].coefficient

    assert [step(count) for count in (1, 15, 16, 17, 256)] == [0.5, 7.5, 8.0, 8.0, 8.0]


def test_coefficients_are_fp32_numbers() -> None:
    """Added as fp64 to fp32 they would be rounded by each device in its own way."""
    settings = Settings(directions=3, learning_rate="0.1", weight_decay="0.3")
    closed = ClosedRound(0, (0,), (Payload(0, bytes([127, 126, 125])),), 1)
    update = update_of(closed, SEED, settings)
    for value in (update.shrink, *(term.coefficient for term in update.terms)):
        assert value == float(np.float32(value))


def test_directions_that_change_nothing_do_not_clip_the_others() -> None:
    settings = Settings(directions=4, learning_rate="0.5", scale_with_peers=False)
    closed = ClosedRound(0, (0,), (Payload(0, bytes([0, 127, 0, 0])),), 1)
    coefficients = [term.coefficient for term in update_of(closed, SEED, settings).terms]
    assert coefficients == [0, pytest.approx(-0.5 / 4), 0, 0]
