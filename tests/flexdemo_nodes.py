"""A few nodes with an optimizer each, on data of their own, and the exchange between them done on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from devices import CPU
from torch import Tensor, nn

from haversack_trainer.methods.flexdemo.optimizer import FlexDemoOptimizer
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.settings import Scheme, Update, ValueType

EXACT = Options(value_type=ValueType.FP32, update=Update.IDENTITY, learning_rate=0.1)
"""Nothing is rounded on the way, and nothing is hidden behind a sign."""
PER_STEP = [scheme for scheme in Scheme if scheme is not Scheme.DILOCO]


def with_scheme(scheme: Scheme, options: Options = EXACT, **changes: Any) -> Options:
    return replace(options, scheme=scheme, **changes)


def weights(sizes: Sequence[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for size in sizes]


class Nodes:
    """``count`` nodes that begin with the same tensors, one parameter group for each size."""

    def __init__(
        self, options: Options, sizes: Sequence[int], count: int = 2, device: torch.device = CPU
    ) -> None:
        start = weights(sizes)
        self.parameters = [
            [nn.Parameter(w.to(device).clone()) for w in start] for _ in range(count)
        ]
        self.optimizers = [
            FlexDemoOptimizer([{"params": [p]} for p in own], options) for own in self.parameters
        ]

    def payloads(self, gradients: Sequence[Sequence[Tensor | None]]) -> list[bytes]:
        """Every node's payload for its own gradients."""
        for own, given in zip(self.parameters, gradients, strict=True):
            for parameter, gradient in zip(own, given, strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device)
        return [optimizer.compress() for optimizer in self.optimizers]

    def apply(self, payloads: Sequence[bytes]) -> None:
        for optimizer in self.optimizers:
            optimizer.apply(payloads)

    def step(self, gradients: Sequence[Sequence[Tensor | None]]) -> list[bytes]:
        payloads = self.payloads(gradients)
        self.apply(payloads)
        return payloads

    def random_steps(self, count: int, seed: int = 1) -> None:
        sizes = [parameter.numel() for parameter in self.parameters[0]]
        for number in range(count):
            self.step(
                [weights(sizes, hash((seed, number, n))) for n in range(len(self.parameters))]
            )

    def flat(self, node: int = 0) -> Tensor:
        return torch.cat([p.detach().cpu() for p in self.parameters[node]])

    def momentum(self, node: int = 0) -> list[Tensor]:
        states = [self.optimizers[node].state[p] for p in self.parameters[node]]
        return [state["momentum"].clone() for state in states]


def same_bits(one: Tensor, other: Tensor) -> bool:
    return bool(torch.equal(one.cpu().view(torch.int32), other.cpu().view(torch.int32)))
