"""A linear map with some of its outputs or inputs only, as if the others were not there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .cuts import Runs
from .errors import BlocksError
from .linear import base_of, features, is_transposed, weight_of

Pick = Runs | None
"""Some of an axis; None for all of it."""


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
    """``module``, plain or with LoRA, of ``hidden [..., inputs]``, as ``[..., outputs]``; one of the two is
    given."""
    base: Any = base_of(module)
    result = _product(base, hidden, (1, inputs) if outputs is None else (0, outputs))
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
    parts = [tensor.narrow(axis, run.start, run.stop - run.start) for run in pick]
    if not parts:
        return tensor.narrow(axis, 0, 0)
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _product(base: Any, hidden: Tensor, pick: tuple[int, Pick]) -> Tensor:
    weight = base._parameters.get("weight")  # noqa: SLF001  # Nf4Linear has none: it unpacks one
    trained = weight if weight is not None and weight.requires_grad else None
    found: Tensor = _Product.apply(hidden, trained, base, pick)  # type: ignore[no-untyped-call]  # torch's
    return found


class _Product(torch.autograd.Function):
    """``x·W^T`` with a part of W, which is taken again on the way back rather than kept for all layers."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, trained: Tensor | None, base: Any, pick: tuple[int, Pick]
    ) -> Tensor:
        ctx.base, ctx.pick = base, pick
        if trained is not None:
            ctx.save_for_backward(x)
        return nn.functional.linear(x, picked(weight_of(base), *pick))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ((gradient,), base, (axis, runs)) = gradients, ctx.base, ctx.pick
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ picked(weight_of(base), axis, runs)
        if ctx.needs_input_grad[1]:
            (x,) = ctx.saved_tensors
            part = gradient.flatten(0, -2).T @ x.flatten(0, -2)
            of_weight = _spread(part, base, axis, runs)
        return of_x, of_weight, None, None


def _spread(part: Tensor, base: Any, axis: int, runs: Pick) -> Tensor:
    """``part`` at its places of the weight, and zeros."""
    whole = torch.zeros_like(base.weight)
    target = whole.T if is_transposed(base) else whole
    if runs is None:
        runs = (slice(0, target.shape[axis]),)
    for run, piece in zip(
        runs, torch.split(part, [r.stop - r.start for r in runs], axis), strict=True
    ):
        target.narrow(axis, run.start, run.stop - run.start).copy_(piece)
    return whole
