"""What a group is worth, as ``[layer, group]``, float64 (D2FT, arXiv 2504.12471, and the Taylor score of a gate).

Biases, norms, and LoRA factors that a layer's groups share (A of the maps in, B of the map out) count for no group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .cuts import Part
from .groups import Groups
from .linear import base_of, is_transposed, weight_of
from .masks import scaled_experts, scaled_input
from .patch import replaced

Scores = NDArray[np.float64]


@torch.no_grad()
def magnitude(groups: Groups) -> Scores:
    """Sum of |w| over the group's weights; those of W0 + s·B·A where there is LoRA."""
    return _over_parts(groups, _magnitude)


@torch.no_grad()
def fisher(groups: Groups) -> Scores:
    """Sum of g² over the group's weights that have a gradient: the base's where it is trained, the group's entries
    of the LoRA factors where it is frozen. ``g`` is what ``.grad`` holds, so after the backward pass of a
    micro-batch's mean loss it is the square of the mean over its samples, not the mean of their squares."""
    return _over_parts(groups, _fisher)


class Gates:
    """A factor of 1 on what each group gives; its gradient says what the group is worth."""

    def __init__(self, groups: Groups) -> None:
        device = next(groups.layers.modules[0].parameters()).device
        shape = (1, groups.num_groups)
        self.factors = [torch.ones(shape, device=device, requires_grad=True) for _ in groups.parts]

    def scores(self) -> Scores:
        """|dL/dm| of each gate over the backward passes so far, 0 where none came."""
        found = [torch.zeros_like(m) if m.grad is None else m.grad.abs() for m in self.factors]
        return np.concatenate([gradient.double().cpu().numpy() for gradient in found])


@contextmanager
def gated(groups: Groups) -> Iterator[Gates]:
    """Forward and backward passes in here tell the gates. A group's heads and its slice of the feed-forward part
    have the same gate. Works over a frozen base, and needs no weight gradients. Inside of a ``GroupExecutor``'s
    table only where that masks: groups that do not run in full tell 0."""
    gates = Gates(groups)
    with ExitStack() as stack:
        for factor, parts in zip(gates.factors, groups.parts, strict=True):
            for part in parts:
                stack.enter_context(replaced(part.module, forward=_gated(part, factor)))
        yield gates


def _gated(part: Part, factor: Tensor) -> Callable[..., Any]:
    original = part.module.forward
    scale = scaled_experts if part.is_experts else scaled_input

    def forward(*args: Any, **kwargs: Any) -> Any:
        return original(*scale(part, args, factor), **kwargs)

    return forward


def _over_parts(groups: Groups, score: Callable[[Part], Tensor]) -> Scores:
    rows = [sum(score(part).double().cpu() for part in parts) for parts in groups.parts]
    return np.stack([np.asarray(row, np.float64) for row in rows])


def _magnitude(part: Part) -> Tensor:
    if part.is_experts:
        weights = _expert_weights(part)
        return part.sums(sum((w.float().abs().flatten(1).sum(1) for w in weights), torch.zeros(())))
    total = part.sums(_adapted(part.module).abs().sum(0))
    for rows in part.rows:
        total = total + part.sums(_adapted(rows.module).abs().sum(1), rows.num_blocks)
    return total


def _fisher(part: Part) -> Tensor:
    if part.is_experts:
        squares = [_square(w.grad, 1) for w in _expert_weights(part) if w.grad is not None]
        return part.sums(sum(squares, torch.zeros(part.bounds[-1])))
    total = torch.zeros(part.num_groups)
    for gradient in _gradients(part.module, "lora_A"):
        total = total + part.sums(_square(gradient.T, 1)).cpu()
    for rows in part.rows:
        for gradient in _gradients(rows.module, "lora_B"):
            total = total + part.sums(_square(gradient, 1), rows.num_blocks).cpu()
    return total


def _square(gradient: Tensor, first: int) -> Tensor:
    """Over all axes but the first."""
    return gradient.float().square().flatten(first).sum(1)


def _gradients(module: nn.Module, factor: str) -> Iterator[Tensor]:
    """``[out, in]`` of the map's weight, and of one factor of each adapter."""
    base = base_of(module)
    gradient = getattr(base._parameters.get("weight"), "grad", None)  # noqa: SLF001  # Nf4Linear computes its weight
    if gradient is not None:
        yield gradient.T if is_transposed(base) else gradient
    for adapter in getattr(module, factor, {}).values():
        if adapter.weight.grad is not None:
            yield adapter.weight.grad


def _adapted(module: Any) -> Tensor:
    """W0 + s·B·A, ``[out, in]`` fp32."""
    weight = weight_of(base_of(module)).float()
    for name in getattr(module, "lora_A", {}):
        down, up = module.lora_A[name].weight, module.lora_B[name].weight
        weight = weight + module.scaling[name] * (up.float() @ down.float())
    return weight


def _expert_weights(part: Part) -> list[nn.Parameter]:
    """Those that have a row for each expert."""
    num_experts = part.bounds[-1]
    parameters = base_of(part.module).parameters()
    return [p for p in parameters if p.dim() > 1 and len(p) == num_experts]
