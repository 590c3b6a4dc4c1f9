"""What the three operations cost, and what a table saves. Pure.

``ops [K, N]`` holds the operation of subnet k on micro-batch i. Subnets are counted layer by layer: k = layer·G +
group. Modelled, as in the paper: attention and feed-forward slices of a group together are one unit of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.blocks import Op, OpTable

SKIP: Final = 0
FORWARD: Final = 1
FULL: Final = 2
_OPS: Final = {SKIP: Op.SKIP, FORWARD: Op.FORWARD, FULL: Op.FULL}
MOST_UNITS: Final = 24
"""Of a full pass: the forward pass is rounded to so many parts."""

Ops = NDArray[np.int8]
"""``SKIP``, ``FORWARD`` or ``FULL``, ascending with what they cost."""


class Infeasible(ValueError):
    """No table keeps to the budget and to what must run; says which field to change."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of an operation of one subnet on one micro-batch, in whole units; to skip costs nothing."""

    full: int
    forward: int

    @classmethod
    def of(cls, rho: float) -> Costs:
        """``rho``: the forward pass's share of forward and backward pass, above 0 and at most 1."""
        share = Fraction(rho).limit_denominator(MOST_UNITS)
        return cls(share.denominator, max(1, share.numerator))

    @property
    def rho(self) -> float:
        """As it is reckoned with."""
        return self.forward / self.full

    def loads(self, ops: Ops) -> NDArray[np.int64]:
        """Units of each subnet, ``[K]``."""
        units: NDArray[np.int64] = np.array([0, self.forward, self.full])[ops].sum(axis=1)
        return units


@dataclass(frozen=True, slots=True)
class Shares:
    """A table's operations as shares of all its cells."""

    full: float
    forward: float
    skipped: float

    @classmethod
    def of(cls, ops: Ops) -> Shares:
        full, forward, skipped = (float((ops == op).mean()) for op in (FULL, FORWARD, SKIP))
        return cls(full, forward, skipped)

    def compute(self, rho: float) -> float:
        """Of the work of running everything in full."""
        return self.full + rho * self.forward

    @property
    def traffic(self) -> float:
        """Of the activations and gradients that devices of one site would exchange: forward only needs no
        gradients."""
        return self.full + self.forward / 2

    @property
    def activations(self) -> float:
        """Of those kept for the backward pass, where only what runs in full keeps any."""
        return self.full


def imbalance(loads: Sequence[float], speeds: Sequence[float]) -> float:
    """How much longer the slowest device takes than the mean, 0 for none."""
    seconds = np.asarray(loads, float) / np.asarray(speeds, float)
    mean = float(seconds.mean())
    return float(seconds.max()) / mean - 1 if mean else 0.0


def inverse_shares(ops: Ops, num_layers: int) -> NDArray[np.float64]:
    """``[micro-batch, layer]``: by what the layer's output keeps its mean while some of its groups are skipped; 1 where
    all are."""
    by_layer = ops.reshape(num_layers, -1, ops.shape[1])
    running = (by_layer != SKIP).sum(axis=1).T
    return np.where(running, by_layer.shape[1] / np.maximum(running, 1), 1.0)


def op_table(ops: Ops, num_layers: int) -> OpTable:
    """For the executor."""
    cells = ops.reshape(num_layers, -1, ops.shape[1])
    return OpTable(
        tuple(tuple(tuple(_OPS[int(op)] for op in row) for row in groups) for groups in cells)
    )
