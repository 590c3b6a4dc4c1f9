"""The mean gradient of a pod's batch: the same whatever shards it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .base import Gradient, LossModel
from .world import World

Backward = Callable[[Tensor, bool], None]
"""Takes a loss back; the flag says whether it is the batch's last one. The engine's gradient becomes the mean
over the pod's processes of the sum over a process's losses."""


def accumulate(
    world: World, model: LossModel, batch: Sequence[Any], backward: Backward
) -> tuple[float, int]:
    """Mean loss and number of samples of the whole pod. A micro-batch that only fills up the number of steps has
    ``num_samples`` 0 and weighs nothing."""
    own = sum(micro.num_samples for micro in batch)
    num_samples = int(world.sums(own)[0])
    total = 0.0
    for number, micro in enumerate(batch, 1):
        loss = model.loss(micro) * (micro.num_samples * world.size / num_samples)
        backward(loss, number == len(batch))
        total += float(loss.detach())
    return world.sums(total)[0] / world.size, num_samples


def clip(world: World, partitions: Sequence[Tensor], max_norm: float) -> bool:
    """Clip by the norm over the pod; False if that is not finite, on every process alike."""
    own = sum(
        float(part.grad.double().square().sum()) for part in partitions if part.grad is not None
    )
    norm = math.sqrt(total) if (total := world.sums(own)[0]) >= 0 else math.nan
    if not math.isfinite(norm):
        return False
    if norm > max_norm:
        for part in partitions:
            if part.grad is not None:
                part.grad.mul_(max_norm / (norm + 1e-6))
    return True


def outcome(loss: float, num_samples: int, *, is_finite: bool) -> Gradient:
    """A loss that is not finite makes the step useless, too."""
    return Gradient(loss, num_samples, is_finite and math.isfinite(loss))
