"""What the kinds of linear maps have in common: torch's, GPT-2's transposed one, four bits, peft's wrapper."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def base_of(module: nn.Module) -> Any:
    """The map itself, under peft's wrapper where there is one."""
    return getattr(module, "base_layer", module)


def is_transposed(base: Any) -> bool:
    """Whether its weight is ``[in, out]``: transformers' ``Conv1D``."""
    return hasattr(base, "nx") and hasattr(base, "nf")


def features(module: nn.Module) -> tuple[int, int] | None:
    """Widths in and out; None for what is no linear map."""
    base = base_of(module)
    if is_transposed(base):
        return int(base.nx), int(base.nf)
    if hasattr(base, "in_features") and hasattr(base, "out_features"):
        return int(base.in_features), int(base.out_features)
    return None


def weight_of(base: Any) -> Tensor:
    """``[out, in]``, a view where it is kept transposed."""
    weight: Tensor = base.weight
    return weight.T if is_transposed(base) else weight
