"""Which layers get an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn

from .errors import ModelError

DEFAULTS: Final = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("query_proj", "value_proj"),
    ("query_key_value",),
    ("qkv_proj",),
    ("Wqkv",),
    ("c_attn",),
    ("qkv",),
    ("q", "v"),
)
"""Query and value projections (Hu et al., section 4.2) as the families name them; the first whose
names all exist is taken. Where the three projections are one layer, that layer is."""


def target_modules(model: nn.Module, wanted: Sequence[str] | None) -> list[str]:
    """Checked names of the layers to adapt, sorted. Raises ``ModelError`` naming what there is."""
    linears = [name for name, module in model.named_modules() if is_linear(module)]
    have = sorted({_last(name) for name in linears} - {"classifier", "score", "lm_head"})
    if wanted is None:
        known = (names for names in DEFAULTS if set(names) <= set(have))
        chosen: Sequence[str] | None = next(known, None)
        if chosen is None:
            raise ModelError(
                f"{type(model).__name__} has no layers that are known as query and value projections; "
                f"set adapter.lora.targetModules to some of: {', '.join(have)}"
            )
        return sorted(chosen)
    for target in wanted:
        if not any(name == target or name.endswith(f".{target}") for name in linears):
            raise ModelError(
                f"adapter.lora.targetModules names {target!r}, which is no linear layer of "
                f"{type(model).__name__}; choose from: {', '.join(have)}"
            )
    return sorted(set(wanted))


def is_linear(module: nn.Module) -> bool:
    """True for the layers LoRA can be put on: Linear, and GPT-2's transposed Conv1D."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _last(name: str) -> str:
    return name.rpartition(".")[2]
