"""What a group is worth, as ``[layer, group]``, float64 (D2FT, arXiv 2504.12471, and the Taylor score of a gate).

Biases, norms, and LoRA factors that a layer's groups share (A of the maps in, B of the map out) count for no group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

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
Parts = Sequence[Sequence[Part]]
"""Of each layer."""


class Scoring(NamedTuple):
    """What scored passes have told so far: ``gates`` and ``fisher`` of this module."""

    gates: Callable[[], Scores]
    fisher: Callable[[], Scores]


@torch.no_grad()
def magnitude(groups: Groups) -> Scores:
    """Sum of |w| over the group's weights; those of W0 + s·B·A where there is LoRA."""
    return np.stack(_over_parts(groups.parts, _magnitude))


@torch.no_grad()
def fisher(groups: Groups) -> Scores:
    """Sum of g² over the group's weights that have a gradient: the base's where it is trained, the group's entries
    of the LoRA factors where it is frozen. ``g`` is what ``.grad`` holds, so after the backward pass of a
    micro-batch's mean loss it is the square of the mean over its samples, not the mean of their squares."""
    return np.stack(fisher_rows(groups.parts))


@torch.no_grad()
def fisher_rows(parts: Parts) -> list[Scores]:
    """The same layer by layer, where layers have other numbers of groups, or none."""
    return _over_parts(parts, _fisher)


class Gates:
    """A factor of 1 on what each group gives; its gradient says what the group is worth."""

    def __init__(self, parts: Parts, device: torch.device) -> None:
        """``parts``: of each layer; all of a layer have the same groups."""
        self._parts = parts
        self._factors = [
            torch.ones((1, row[0].num_groups if row else 0), device=device, requires_grad=True)
            for row in parts
        ]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Forward and backward passes in here tell the gates."""
        with ExitStack() as stack:
            for factor, row in zip(self._factors, self._parts, strict=True):
                for part in row:
                    stack.enter_context(replaced(part.module, forward=_gated(part, factor)))
            yield

    def rows(self) -> list[Scores]:
        """|dL/dm| of each layer's gates over the backward passes so far, 0 where none came."""
        found = [torch.zeros_like(m) if m.grad is None else m.grad.abs() for m in self._factors]
        return [gradient[0].double().cpu().numpy() for gradient in found]

    def scores(self) -> Scores:
        """The same as a table."""
        return np.stack(self.rows())


@contextmanager
def gated(groups: Groups) -> Iterator[Gates]:
    """Forward and backward passes in here tell the gates. A group's heads and its slice of the feed-forward part
    have the same gate. Works over a frozen base, and needs no weight gradients. Inside of a ``GroupExecutor``'s
    table only where that masks: groups that do not run in full tell 0."""
    gates = Gates(groups.parts, next(groups.layers.modules[0].parameters()).device)
    with gates.open():
        yield gates


def _gated(part: Part, factor: Tensor) -> Callable[..., Any]:
    original = part.module.forward
    scale = scaled_experts if part.is_experts else scaled_input

    def forward(*args: Any, **kwargs: Any) -> Any:
        return original(*scale(part, args, factor), **kwargs)

    return forward


def _over_parts(parts: Parts, score: Callable[[Part], Tensor]) -> list[Scores]:
    rows = [sum((score(p).double().cpu() for p in row), torch.zeros(1)) for row in parts]
    return [
        np.asarray(total if row else total[:0], np.float64)
        for total, row in zip(rows, parts, strict=True)
    ]


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
