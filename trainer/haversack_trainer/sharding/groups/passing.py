"""What the first process tells the others of a pass through the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from haversack_trainer.blocks import BlocksError, Op

RUN: Final = "groups.run"
TAKE: Final = "groups.take"
GIVE: Final = "groups.give"
SHOW: Final = "groups.show"
SCORES: Final = "groups.scores"
FORGET: Final = "groups.forget"
"""What the first process has the others do, by name."""
HIDDEN: Final = "hidden_states"
_PLAIN: Final = (bool, int, float, str, torch.dtype, type(None))


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass, and the backward pass after it."""

    ops: tuple[tuple[Op, ...], ...]
    """``[layer][group]``: a column of the step's table."""
    scales: tuple[float, ...]
    """``[layer]``: how often what its groups add counts."""
    training: bool
    backward: bool
    gated: bool
    """Whether groups are scored on the way."""
    has_adapters: bool
    seed: int
    """Of what is drawn on the way."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a part of a layer was called, but for the hidden state itself."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rest: tuple[tuple[Any, ...], dict[str, Any]] | None
    """The arguments after it; None where the same part of the layer before was called with the same."""


def rest_of(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments without the hidden state, which is the first of them."""
    return args[1:], {name: value for name, value in kwargs.items() if name != HIDDEN}


def is_same(left: Any, right: Any) -> bool:
    """Whether two calls' arguments are the same objects, or equal where they are no tensors."""
    if isinstance(left, Tensor) or isinstance(right, Tensor) or type(left) is not type(right):
        return left is right
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_same(left[n], right[n]) for n in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right)


def portable(value: Any, where: str) -> Any:
    """A call's argument for another process. Raises ``BlocksError`` where there it would not be the same."""
    if isinstance(value, Tensor) and not value.requires_grad:
        return value.detach().cpu()
    if isinstance(value, dict):
        return {name: portable(each, where) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(portable(each, where) for each in value)
    if isinstance(value, _PLAIN):
        return value
    kind = "a tensor with a gradient" if isinstance(value, Tensor) else type(value).__name__
    raise BlocksError(
        f"{where} is called with {kind} beside its hidden state, which no other process has"
    )


def on_device(value: Any, device: torch.device) -> Any:
    """Inverse of ``portable``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: on_device(each, device) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(on_device(each, device) for each in value)
    return value
