"""Record-level differential privacy of gradient steps (DP-SGD, Abadi et al., arXiv 1607.00133).

Each sample's gradient is cut to an L2 norm of ``clip``; exchanging one record for another moves their sum by at most
2·clip, and the noise on each number of the sum is normal with ``noiseMultiplier`` times that. Samples go through the
model one by one: no layer needs to be known for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from haversack_trainer.contract.privacy import DeltaPrivacy

from .account import Use
from .deltas import Entropy, deviation, normals, os_entropy
from .guard import Guard


class Data(Protocol):
    """``method.Batches``, which lies above this room."""

    @property
    def num_records(self) -> int: ...

    def micro_batches(self, step: int, /) -> Sequence[Any]: ...


def use_of(batches: Data) -> Use:
    """How often a step's gradient has the most-used record in it."""
    first = batches.micro_batches(0)
    return Use(batches.num_records, sum(micro.num_samples for micro in first), noisy_per_batch=1)


def guard_of(privacy: DeltaPrivacy | None, local_steps: int, batches: Data) -> Guard | None:
    """None where nothing is to be protected."""
    return None if privacy is None else Guard(privacy, local_steps, use_of(batches))


class SampleGradients:
    """Adds up a step's clipped gradients in ``.grad``."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        privacy: DeltaPrivacy,
        entropy: Entropy = os_entropy,
    ) -> None:
        self._parameters, self._privacy, self._entropy = parameters, privacy, entropy

    def add(self, loss: Tensor) -> None:
        """That of one sample's ``loss [1]``, from a forward pass of its own: beside another one whose activations
        overflow it would be NaN, too. One that is not finite counts as zero: that a record makes a loss overflow is
        a word about it."""
        trained = [parameter for parameter in self._parameters if parameter.requires_grad]
        found = torch.autograd.grad(loss.sum(), trained, allow_unused=True)
        pairs = [(p, g) for p, g in zip(trained, found, strict=True) if g is not None]
        norm = math.sqrt(sum(float(g.double().square().sum()) for _, g in pairs))
        share = min(1.0, float(self._privacy.clip) / norm) if norm else 1.0
        for parameter, gradient in pairs:
            before = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = before + share * gradient if math.isfinite(norm) else before

    def blur(self, num_samples: int) -> None:
        """Noise on the sum, of which then the mean is left."""
        wide = deviation(self._privacy)
        for parameter in self._parameters:
            if parameter.grad is not None:
                noise = torch.from_numpy(normals(tuple(parameter.shape), self._entropy))
                parameter.grad += wide * noise.to(parameter.grad)
                parameter.grad /= num_samples
