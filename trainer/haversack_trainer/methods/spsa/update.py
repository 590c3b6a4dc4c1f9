"""What a closed round does to the parameters: a pure function of the log, equal on every peer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from torch import Tensor

from haversack_trainer.exchange.log import ClosedRound

from . import codec
from .directions import Term, add, key
from .settings import Settings, Weighting

MAX_SCALING: Final = 16
"""The learning rate grows with the number of directions up to here; more than that was not stable."""


class Scalar(NamedTuple):
    """A projected gradient that somebody measured."""

    round: int
    """When its direction was drawn: earlier than the round that it is applied in, if it came late."""
    peer: int
    direction: int
    value: float


@dataclass(frozen=True, slots=True)
class Update:
    """``theta <- theta · shrink + sum of terms``, in the order of (round, peer, direction)."""

    shrink: float
    terms: tuple[Term, ...]

    def apply(self, theta: Tensor) -> None:
        """In place; bit for bit the same on every device."""
        if self.shrink != 1.0:
            theta *= self.shrink
        add(theta, self.terms)


def scalars(closed: ClosedRound, directions: int, late_rounds: int = 0) -> list[Scalar]:
    """The round's valid scalars, by (round, peer, direction): the codes' values, for their senders, too.

    A payload that has not one code for each of the ``directions`` is INVALID as a whole. One that came late,
    by at most ``late_rounds``, belongs to the directions of its own round: under any others it would be noise.
    """
    payloads = [(closed.round, payload) for payload in closed.payloads]
    payloads += [
        (late.round, late.payload)
        for late in closed.late
        if closed.round - late.round <= late_rounds
    ]
    return sorted(
        Scalar(number, payload.peer, direction, value)
        for number, payload in payloads
        if len(payload.body) == directions
        for direction, value in enumerate(codec.decode(payload.aux, payload.body))
        if value is not None
    )


def update_of(closed: ClosedRound, seed: int, settings: Settings) -> Update:
    """One descent step along the round's directions, and along those of late scalars, which count as much."""
    measured = scalars(closed, settings.directions, settings.late_rounds)
    count = len(measured)
    if not count:
        return Update(1.0, ())
    rate = float(settings.learning_rate)
    if settings.scale_with_peers:
        rate *= min(count, MAX_SCALING)
    step = rate * _weight(settings.weighting, count)
    limit = _limit(measured, float(settings.clip_median))
    return Update(
        _fp32(1 - rate * float(settings.weight_decay)),
        tuple(
            Term(
                key(seed, scalar.round, scalar.peer, scalar.direction),
                _fp32(-step * min(max(scalar.value, -limit), limit)),
            )
            for scalar in measured
        ),
    )


def _weight(weighting: Weighting, count: int) -> float:
    match weighting:
        case Weighting.MEAN:
            return 1 / count
        case Weighting.SQRT:
            return 1 / math.sqrt(count)
        case Weighting.SUM:
            return 1.0


def _limit(measured: list[Scalar], multiple: float) -> float:
    if not multiple:
        return math.inf
    return multiple * median(abs(scalar.value) for scalar in measured)


def _fp32(value: float) -> float:
    """Rounded once, here, so that no device rounds it otherwise."""
    return float(np.float32(value))
