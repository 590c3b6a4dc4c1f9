"""How often each layer is dropped: a shape over depth, filled up to a mean rate under a cap. Pure.

The paper drops whole transformer layers at random in training (stochastic transformer layer dropout). It
names shapes of the rates over depth; their formulas here are ours but for ``Exponential``, LayerSkip's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from .kinds import Protect, Shape

Rates = tuple[float, ...]
"""Probability of being dropped, by layer."""
_BELL_WIDTH: Final = 0.25
_LEAST_IMPORTANCE: Final = 1e-8
_ROUNDING: Final = 1e-9


class Infeasible(ValueError):
    """No rates under the cap have this mean; says what to change."""


def shape_weights(
    shape: Shape, num_layers: int, importance: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Raw weight of each layer; x is its depth from 0 to 1. ``importance`` is for that shape: layers that
    matter less are dropped more, and without it all alike."""
    if shape is Shape.IMPORTANCE and importance is not None:
        return tuple(1 / (value + _LEAST_IMPORTANCE) for value in importance)
    depths = [layer / max(1, num_layers - 1) for layer in range(num_layers)]
    match shape:
        case Shape.INCREMENTAL:
            return tuple(depths)
        case Shape.DECAY:
            return tuple(1 - x for x in depths)
        case Shape.BELL:
            return tuple(math.exp(-((x - 0.5) ** 2) / (2 * _BELL_WIDTH**2)) for x in depths)
        case Shape.EXPONENTIAL:
            return tuple(2**x - 1 for x in depths)
        case Shape.UNIFORM | Shape.IMPORTANCE:
            return (1.0,) * num_layers


def water_fill(
    weights: Sequence[float], protected: Collection[int], mean_rate: float, cap: float
) -> Rates:
    """``min(c·w, cap)`` off the protected layers, 0 on them, with the ``c`` that gives the wanted mean over
    all layers. Raises ``Infeasible``."""
    target = mean_rate * len(weights)
    free = [n for n, weight in enumerate(weights) if weight > 0 and n not in protected]
    if target > cap * len(free) + _ROUNDING:
        raise Infeasible(
            f"a drop rate of {mean_rate:g} needs {target:g} of {len(weights)} layers left out on average, but "
            f"only {len(free)} may be dropped, at most {cap:g} of the time: lower the rate to "
            f"{cap * len(free) / len(weights):.2g} or below, protect fewer layers or choose another shape"
        )
    rates = [0.0] * len(weights)
    if target <= 0:
        return tuple(rates)
    rising = sorted(free, key=lambda n: weights[n])
    left, total = target, sum(weights[n] for n in rising)
    while rising and left / total * weights[rising[-1]] > cap:
        full = rising.pop()
        rates[full] = cap
        left, total = left - cap, sum(weights[n] for n in rising)
    for layer in rising:
        rates[layer] = min(cap, max(0.0, left / total * weights[layer]))
    return tuple(rates)


def protected_layers(
    protect: Protect, named: Collection[int], structural: Collection[int], num_layers: int
) -> frozenset[int]:
    """Layers that always run: those that the settings name, and those that the model cannot do without.
    Raises ``Infeasible`` for a layer that there is not."""
    beyond = sorted(layer for layer in named if layer >= num_layers)
    if beyond:
        raise Infeasible(
            f"protectedLayers names layer {beyond[0]}, but the model's layers are 0 to {num_layers - 1}; correct it"
        )
    ends = {
        Protect.NONE: set[int](),
        Protect.FIRST: {0},
        Protect.LAST: {num_layers - 1},
        Protect.FIRST_AND_LAST: {0, num_layers - 1},
    }[protect]
    return frozenset(ends | set(named) | set(structural))
