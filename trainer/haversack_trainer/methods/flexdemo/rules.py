"""What becomes of the mean: the step. In fp64, one operation at a time, so that nothing is fused anywhere.

Additions, products, quotients and roots in fp64 are rounded alike on every device; a product and a sum in
one kernel need not be, and a division by a number is a product on some. Moments are kept in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import torch
from torch import Tensor

from .options import Options
from .settings import Scheme, Update

_BETA1: Final = 0.9
_BETA2: Final = 0.999
_EPSILON: Final = 1e-8


class Rule(Protocol):
    """phi."""

    moments: tuple[str, ...]
    """Names of the state that it keeps for each element: equal on all peers."""

    def step(self, mean: Tensor, moments: Sequence[Tensor], number: int) -> Tensor:
        """Direction of the ``number``-th step, from 1 on: fp64, over ``mean``; changes ``moments`` (fp32)."""


class Sign:
    moments: tuple[str, ...] = ()

    def step(self, mean: Tensor, moments: Sequence[Tensor], number: int) -> Tensor:
        del moments, number
        return mean.sign_()


class Identity:
    moments: tuple[str, ...] = ()

    def step(self, mean: Tensor, moments: Sequence[Tensor], number: int) -> Tensor:
        del moments, number
        return mean


class AdamW:
    """Without the decay, which all rules share (Loshchilov, Hutter; arXiv 1711.05101)."""

    moments: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def step(self, mean: Tensor, moments: Sequence[Tensor], number: int) -> Tensor:
        first, second = moments
        average = first.double().mul_(_BETA1)
        average.add_(mean * (1 - _BETA1))
        first.copy_(average)
        square = second.double().mul_(_BETA2)
        square.add_(mean.mul_(mean).mul_(1 - _BETA2))
        second.copy_(square)
        average.mul_(1 / (1 - _power(_BETA1, number)))
        square.mul_(1 / (1 - _power(_BETA2, number)))
        return average.div_(square.sqrt_().add_(_EPSILON))


class Nesterov:
    """DiLoCo's outer step (Douillard et al., arXiv 2311.08105)."""

    moments: tuple[str, ...] = ("outer_momentum",)

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum

    def step(self, mean: Tensor, moments: Sequence[Tensor], number: int) -> Tensor:
        del number
        momentum = moments[0].double().mul_(self._momentum)
        momentum.add_(mean)
        moments[0].copy_(momentum)
        return momentum.mul_(self._momentum).add_(mean)


def rule_of(options: Options) -> Rule:
    """DiLoCo's is its outer one."""
    if options.scheme is Scheme.DILOCO:
        return Nesterov(options.outer_momentum)
    match options.update:
        case Update.SIGN:
            return Sign()
        case Update.IDENTITY:
            return Identity()
        case Update.ADAMW:
            return AdamW()


@torch.no_grad()
def descend(weights: Tensor, direction: Tensor, rate: float, decay: float) -> None:
    """``weights = weights·(1 - rate·decay) - rate·direction`` in place, rounded to fp32 once.

    ``direction`` is fp64 and overwritten."""
    exact = weights.double()
    if decay:
        exact.mul_(1 - rate * decay)
    weights.copy_(exact.sub_(direction.mul_(rate)))


def _power(base: float, exponent: int) -> float:
    """By squaring: C libraries' powers differ in the last bit."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
