"""A mixture of experts of which some run: what a sliced layer has in place of a narrower feed-forward part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .cuts import Part
from .linear import base_of
from .masks import routed
from .patch import replaced
from .sliced import Patch
from .table import Op


class SlicedExperts:
    """A mixture of which some experts run: the others are called by nobody."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def patches(self, ops: Sequence[Op], scale: float = 1.0) -> list[Patch]:
        """For one micro-batch, what runs counting ``scale`` times; none where that changes nothing."""
        if scale == 1.0 and all(op is Op.FULL for op in ops):
            return []
        module = self._part.module
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not module.training:
                return original(*args, **kwargs)
            hidden, index, weights = routed(self._part, args)
            called = hidden, index, weights * scale
            value = torch.zeros_like(hidden)
            if Op.FULL in ops:
                value = self._run(original, called, [op is Op.FULL for op in ops])
            if Op.FORWARD in ops:
                with torch.no_grad():
                    beside = self._run(original, called, [op is Op.FORWARD for op in ops])
                value = value + beside
            return value

        return [(module, forward)]

    def _run(
        self,
        original: Callable[..., Any],
        called: tuple[Tensor, Tensor, Tensor],
        chosen: Sequence[bool],
    ) -> Tensor:
        hidden, index, weights = called
        num_experts = self._part.bounds[-1]
        flags = [flag for flag, n in zip(chosen, self._part.widths, strict=True) for _ in range(n)]
        active = torch.tensor(flags, device=index.device)[index]
        # The number after the last expert's is nobody's: what transformers does with experts on other devices.
        base = base_of(self._part.module)
        with replaced(base, _is_expert_parallel=True):
            found: Tensor = original(
                hidden, index.masked_fill(~active, num_experts), weights * active
            )
        return found
