"""A linear map with some of its outputs or inputs only, as if the others were not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .errors import BlocksError
from .linear import base_of, features, weight_of

Pick = slice | Tensor | None
"""Some of an axis: a run, places, or None for all of it."""
Picks = tuple[Pick, Pick]
"""Of a weight's outputs and inputs."""


def pick_of(places: Sequence[int], device: torch.device) -> Pick:
    """A run where it is one: a view needs no copy."""
    first, last = (places[0], places[-1]) if places else (0, -1)
    if last - first + 1 == len(places):
        return slice(first, last + 1)
    return torch.tensor(places, device=device)


def check_narrow(module: nn.Module) -> None:
    """Raises ``BlocksError`` for a wrapper that is not plain LoRA."""
    if features(module) is None:
        raise BlocksError(
            f"{type(module).__name__} is no linear map; choose emulate instead of sliced"
        )
    if base_of(module) is not module and (
        not hasattr(module, "lora_A") or getattr(module, "lora_variant", None)
    ):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        raise BlocksError(f"{kind} is not plain LoRA; choose emulate instead of sliced")


def narrow(
    module: nn.Module,
    hidden: Tensor,
    *,
    outputs: Pick = None,
    inputs: Pick = None,
    with_bias: bool = True,
) -> Tensor:
    """``module``, plain or with LoRA, of ``hidden [..., inputs]``, as ``[..., outputs]``."""
    base: Any = base_of(module)
    result = _product(base, hidden, outputs, inputs)
    if with_bias and base.bias is not None:
        result = result + picked(base.bias, 0, outputs)
    if base is module or module.disable_adapters or module.merged:
        return result
    adapted: Any = module
    for name in adapted.active_adapters:
        if name in adapted.lora_A:
            down, up = adapted.lora_A[name], adapted.lora_B[name]
            low = adapted.lora_dropout[name](hidden.to(down.weight.dtype))
            low = nn.functional.linear(low, picked(down.weight, 1, inputs), down.bias)
            bias = None if up.bias is None else picked(up.bias, 0, outputs)
            high = nn.functional.linear(low, picked(up.weight, 0, outputs), bias)
            result = (result + high * adapted.scaling[name]).to(result.dtype)
    return result


def picked(tensor: Tensor, axis: int, pick: Pick) -> Tensor:
    """These of an axis."""
    if pick is None:
        return tensor
    if isinstance(pick, slice):
        return tensor.narrow(axis, pick.start, pick.stop - pick.start)
    return tensor.index_select(axis, pick)


def _product(base: Any, hidden: Tensor, outputs: Pick, inputs: Pick) -> Tensor:
    weight = base._parameters.get("weight")  # noqa: SLF001  # Nf4Linear has none: it unpacks one
    trained = weight if weight is not None and weight.requires_grad else None
    found: Tensor = _Product.apply(hidden, trained, base, (outputs, inputs))  # type: ignore[no-untyped-call]  # torch's
    return found


class _Product(torch.autograd.Function):
    """``x·W^T`` with a part of W, which is taken again on the way back rather than kept for all layers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, trained: Tensor | None, base: Any, picks: Picks) -> Tensor:
        ctx.base, ctx.picks = base, picks
        if trained is not None:
            ctx.save_for_backward(x)
        return nn.functional.linear(x, _part(base, *picks))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        base, picks = ctx.base, ctx.picks
        of_x = gradient @ _part(base, *picks) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            (x,) = ctx.saved_tensors
            of_weight = torch.zeros_like(base.weight)
            rows = _places(picks[0], weight_of(base).shape[0], x.device)
            columns = _places(picks[1], weight_of(base).shape[1], x.device)
            whole = of_weight if weight_of(base) is base.weight else of_weight.T
            whole[rows[:, None], columns] = gradient.flatten(0, -2).T @ x.flatten(0, -2)
        return of_x, of_weight, None, None


def _part(base: Any, outputs: Pick, inputs: Pick) -> Tensor:
    return picked(picked(weight_of(base), 0, outputs), 1, inputs)


def _places(pick: Pick, count: int, device: torch.device) -> Tensor:
    everything = torch.arange(count, device=device)
    return everything if pick is None else everything[pick]
