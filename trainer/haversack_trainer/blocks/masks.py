"""Operations of groups as masks on the input of a layer's last linear maps, whatever attention kernel ran before:

    y = value(P(h·(m_F + m_O))) with the gradient of P(h·m_F)

so that a forward-only group changes no bit of the value, and neither its weights, P's columns among them, nor what
lies before it get a gradient. P is taken with peft's wrapper, which is inside: LoRA's A has columns of its own for each
group; B is shared, and learns from the groups that run in full. Exact, and slower than running everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .cuts import Part
from .errors import BlocksError
from .patch import generators_kept, passing
from .table import Op


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Of one part of a layer; ``[n, g]`` of 0 and what a running group counts, n samples or 1 for all of them."""

    full: Tensor
    kept: Tensor
    """Groups that count in the value: in full or forward only."""

    @classmethod
    def of(cls, samples: Sequence[Sequence[Op]], scale: float = 1.0) -> Masks:
        """``samples[sample][group]``; what runs counts ``scale`` times."""
        full = [[scale * (op is Op.FULL) for op in ops] for ops in samples]
        kept = [[scale * (op is not Op.SKIP) for op in ops] for ops in samples]
        return cls(torch.tensor(full), torch.tensor(kept))

    @property
    def changes_nothing(self) -> bool:
        return bool((self.full == 1).all())


def masked(part: Part, masks: Masks) -> Callable[..., Any]:
    """A ``forward`` for the part's module, in place of the one that it has."""
    original = part.module.forward
    scale = scaled_experts if part.is_experts else scaled_input
    draws = any(isinstance(m, nn.Dropout) and m.p > 0 for m in part.module.modules())

    def forward(*args: Any, **kwargs: Any) -> Any:
        if masks.changes_nothing or not part.module.training:
            return original(*args, **kwargs)
        if torch.equal(masks.full, masks.kept):
            return original(*scale(part, args, masks.full), **kwargs)
        with generators_kept(args[0].device) if draws else nullcontext(), torch.no_grad():
            value = original(*scale(part, args, masks.kept), **kwargs)
        return passing(value, original(*scale(part, args, masks.full), **kwargs))

    return forward


def scaled_input(part: Part, args: tuple[Any, ...], by_group: Tensor) -> tuple[Any, ...]:
    """A linear map's arguments, its input ``[n, ..., width]`` or ``[n * tokens, width]`` times ``by_group [n or 1, g]``."""
    (hidden, *others) = args
    widths = torch.tensor(part.widths, device=hidden.device)
    factors = by_group.to(hidden).repeat_interleave(widths, 1, output_size=part.bounds[-1])
    if len(factors) > 1:  # some models have flattened samples and tokens into one axis
        factors = factors.repeat_interleave(len(hidden) // len(factors), 0)
    between = (1,) * (hidden.dim() - 2)
    return (hidden * factors.view(len(factors), *between, -1), *others)


def scaled_experts(part: Part, args: tuple[Any, ...], by_group: Tensor) -> tuple[Any, ...]:
    """A mixture's arguments, (hidden ``[t, d]``, experts ``[t, k]``, weights ``[t, k]``): the weights of each group's
    experts times ``by_group``."""
    hidden, index, weights = routed(part, args)
    widths = torch.tensor(part.widths, device=weights.device)
    factors = by_group.to(weights).repeat_interleave(widths, 1, output_size=part.bounds[-1])
    samples = torch.arange(len(index), device=index.device) * len(factors) // len(index)
    return hidden, index, weights * factors[samples[:, None], index]


def routed(part: Part, args: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """What a mixture's fused experts are called with."""
    match args:
        case (Tensor() as hidden, Tensor() as index, Tensor() as weights) if (
            index.shape == weights.shape and not index.is_floating_point()
        ):
            return hidden, index, weights
    raise BlocksError(
        f"{type(part.module).__name__} is not called with a hidden state, the experts' numbers and their "
        "weights, so its experts cannot be masked; choose another model"
    )
