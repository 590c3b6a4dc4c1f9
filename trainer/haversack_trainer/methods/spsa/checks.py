"""What SPSA asks of a model before the run: refused at the start, with the reason."""

from __future__ import annotations

import logging
from typing import Any, Final

import torch
from torch import Tensor

from haversack_trainer.method import Trainee, Unsuited
from haversack_trainer.model import ModelError

TOLERANCE: Final = 1e-4
"""Of losses that ought to be the same: far above fp32's rounding, far below what dropout does."""
_logger = logging.getLogger(__name__)


def require_sound(model: Trainee) -> None:
    """Raises ``Unsuited`` for trainables that are not fp32, or that would be perturbed twice."""
    seen: dict[int, str] = {}
    for name, parameter in model.trainables():
        if parameter.dtype is not torch.float32:
            raise Unsuited(
                f"SPSA needs trainable tensors in fp32, {name} is {parameter.dtype}: "
                "perturbations and updates would be rounded away"
            )
        other = seen.setdefault(parameter.data_ptr(), name)
        if other != name:
            raise Unsuited(
                f"{name} and {other} are one tensor, which SPSA would perturb twice; train one of them"
            )


@torch.no_grad()
def require_repeatable(model: Trainee, batch: Any) -> None:
    """Raises ``Unsuited`` if two forward passes of one point disagree."""
    model.train(mode=False)
    if not _close(model.sample_losses(batch), model.sample_losses(batch)):
        raise Unsuited(
            "the model gives two losses for one batch, and SPSA compares losses: a layer is random even "
            "when it is not trained; set its dropout to 0 in the model's config.json"
        )


@torch.no_grad()
def takes_points(model: Trainee, batch: Any) -> bool:
    """Whether the model measures several points in one pass as it does one by one; warns if not."""
    here = torch.cat([parameter.detach().reshape(-1) for _, parameter in model.trainables()])
    try:
        together = model.losses_at(torch.stack([here, here * 0.5]), batch)
    except (ModelError, RuntimeError) as error:
        _logger.warning("measuring one point at a time: %s", error)
        return False
    if _close(together[0], model.sample_losses(batch)):
        return True
    _logger.warning("measuring one point at a time: in one pass this model's losses are others")
    return False


def _close(some: Tensor, others: Tensor) -> bool:
    return torch.allclose(some, others, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
