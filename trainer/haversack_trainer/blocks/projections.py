"""The last linear of a layer's attention and of its feed-forward part: where head groups can be masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from .errors import BlocksError

_ATTENTION: Final = ("o_proj", "out_proj", "output.dense", "c_proj", "out_lin", "dense")
_FEED_FORWARD: Final = (
    "down_proj",
    "fc2",
    "output.dense",
    "c_proj",
    "lin2",
    "dense_4h_to_h",
    "experts",
)
"""Ends of names, the first that fits is taken. ``experts`` is a mixture's fused last weights."""
_IN_ATTENTION: Final = ("attn", "attention")


@dataclass(frozen=True, slots=True)
class Projections:
    """Dotted names inside the layer."""

    attention: str
    feed_forward: str


def find_projections(layer: nn.Module) -> Projections:
    """Raises ``BlocksError`` naming the layer's class where one is missing."""
    names = list(linear_names(layer))
    attention = [name for name in names if is_in_attention(name)]
    others = [name for name in names if not is_in_attention(name)]
    found = _first(attention, _ATTENTION), _first(others, _FEED_FORWARD)
    if found[0] is None or found[1] is None:
        part = "attention" if found[0] is None else "feed-forward part"
        raise BlocksError(
            f"the output projection of {type(layer).__name__}'s {part} cannot be found among: "
            f"{', '.join(names) or 'no linear layers'}; choose another model"
        )
    return Projections(found[0], found[1])


def _first(names: list[str], ends: tuple[str, ...]) -> str | None:
    for end in ends:
        for name in names:
            if name == end or name.endswith(f".{end}"):
                return name
    return None


def linear_names(layer: nn.Module) -> Iterator[str]:
    """Names of linear maps: modules with a matrix of their own, a mixture's experts, and peft's wrappers
    in place of what they wrap."""
    wrapped: list[str] = []
    for name, module in layer.named_modules():
        if any(name.startswith(f"{outer}.") for outer in wrapped):
            continue
        if hasattr(module, "base_layer"):
            wrapped.append(name)
            yield name
        elif any(p.dim() > 1 for p in module.parameters(recurse=False)):
            yield name


def is_in_attention(name: str) -> bool:
    return any(word in part for part in name.split(".") for word in _IN_ATTENTION)
