"""What closed rounds do to the parameters: a pure function of the log, equal on every peer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from torch import Tensor

from haversack_trainer.exchange.log import ClosedRound, Payload

from . import codec
from .directions import Directions, Term
from .settings import LEAST_FOR_SPREAD, Code, Settings, Weighting
from .words import key

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
    """``theta <- theta·shrink + sum of terms``, in the order of (round, peer, direction); with a velocity v,
    ``v <- v·momentum + sum of terms`` and ``theta <- theta·shrink + v``."""

    shrink: float
    terms: tuple[Term, ...]
    momentum: float = 0.0

    def apply(
        self, theta: Tensor, start: int, directions: Directions, velocity: Tensor | None = None
    ) -> None:
        """To the vector's piece from ``start``, in place; bit for bit the same on every device.

        Every operation is rounded by itself: nothing here may be fused into a multiply-add.
        """
        if self.shrink != 1.0:
            theta *= self.shrink
        if velocity is None:
            directions.add(theta, start, self.terms)
            return
        velocity *= self.momentum
        directions.add(velocity, start, self.terms)
        theta += velocity


def scalars(closed: ClosedRound, settings: Settings) -> list[Scalar]:
    """The round's valid scalars, by (round, peer, direction): the codes' values, for their senders, too.

    A payload that has not one code for each direction is INVALID as a whole. One that came late, by at most
    ``lateRounds``, belongs to the directions of its own round: under any others it would be noise.
    """
    payloads = [(closed.round, payload) for payload in closed.payloads]
    payloads += [
        (late.round, late.payload)
        for late in closed.late
        if closed.round - late.round <= settings.late_rounds
    ]
    return sorted(
        Scalar(number, payload.peer, direction, value)
        for number, payload in payloads
        for direction, value in enumerate(_decoded(payload, settings))
        if value is not None
    )


def _decoded(payload: Payload, settings: Settings) -> Sequence[float | None]:
    count = settings.directions
    if settings.code is Code.SIGN:
        return codec.decode_signs(payload.body, count) or ()
    return codec.decode(payload.aux, payload.body) if len(payload.body) == count else ()


def update_of(closed: ClosedRound, seed: int, settings: Settings, pace: float = 1.0) -> Update:
    """One descent step along the round's directions, and along those of late scalars, which count as much. ``pace``:
    what the learning rate is multiplied with in this round."""
    momentum = _fp32(float(settings.momentum))
    measured = _evened(scalars(closed, settings), settings)
    count = len(measured)
    if not count:
        return Update(1.0, (), momentum)
    rate = float(settings.learning_rate) * pace
    if settings.scale_with_peers:
        rate *= min(count, MAX_SCALING)
    step = rate * _weight(settings.weighting, count)
    return Update(
        _fp32(1 - rate * float(settings.weight_decay)),
        tuple(
            Term(
                key(seed, scalar.round, scalar.peer, scalar.direction),
                _fp32(-step * scalar.value),
                scalar.round,
            )
            for scalar in measured
        ),
        momentum,
    )


def _weight(weighting: Weighting, count: int) -> float:
    match weighting:
        case Weighting.MEAN:
            return 1 / count
        case Weighting.SQRT:
            return 1 / math.sqrt(count)
        case Weighting.SUM:
            return 1.0


def _evened(measured: list[Scalar], settings: Settings) -> list[Scalar]:
    """Clipped against what one peer could claim, then without the losses' own scale."""
    sizes = [abs(scalar.value) for scalar in measured if scalar.value]
    multiple = float(settings.clip_median)
    if sizes and multiple:
        # Not of zeros: where most directions change nothing, the others would be cut to nothing.
        limit = multiple * median(sizes)
        measured = [s._replace(value=min(max(s.value, -limit), limit)) for s in measured]
    if not settings.normalise:
        return measured
    deviation = _deviation([scalar.value for scalar in measured])
    return [s._replace(value=s.value / deviation) for s in measured] if deviation else []


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation, 0 where there is none. Sums are exact (``fsum``), so that it is the same everywhere."""
    if len(values) < LEAST_FOR_SPREAD:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _fp32(value: float) -> float:
    """Rounded once, here, so that no device rounds it otherwise."""
    return float(np.float32(value))
