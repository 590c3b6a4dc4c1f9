"""Groups of a model: in each layer some attention heads and a slice of the feed-forward width (D2FT's subnets,
arXiv 2504.12471; with grouped queries a key-value head and its query heads). No family is known by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from .cuts import Part, Rows, cut
from .errors import BlocksError
from .layers import Layers, config_of, find_layers
from .linear import features
from .projections import find_projections, is_in_attention, linear_names

_HEADS: Final = ("num_key_value_heads", "num_attention_heads")
_EXPERTS: Final = "experts"


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Of one model; every layer has the same number."""

    layers: Layers
    parts: tuple[tuple[Part, ...], ...]
    """Of each layer: attention, feed-forward part, and a mixture's experts beside a shared one."""
    num_groups: int
    costs: tuple[tuple[float, ...], ...]
    """``[layer][group]``: weights of the group, as a multiple of the mean over all. 1 where slices are even."""

    def __len__(self) -> int:
        return len(self.parts)


def find_groups(
    network: nn.Module, num_groups: int | None = None, layers: Layers | None = None
) -> Groups:
    """As many groups as the model has key-value heads, or a divisor of that. Raises ``BlocksError``, naming
    the class, where the layers cannot be cut so."""
    layers = layers or find_layers(network)
    count = _checked(num_groups, _num_heads(network), network)
    parts = tuple(_parts(layer, count) for layer in layers.modules)
    sizes = [_sizes(found, count) for found in parts]
    mean = sum(map(sum, sizes)) / (len(sizes) * count)
    return Groups(layers, parts, count, tuple(tuple(size / mean for size in row) for row in sizes))


def _num_heads(network: nn.Module) -> int:
    config = config_of(network)
    for field in _HEADS:
        if heads := getattr(config, field, None):
            return int(heads)
    raise BlocksError(
        f"the config of {type(config).__name__} names no number of heads; choose another model"
    )


def _checked(asked: int | None, heads: int, network: nn.Module) -> int:
    if asked is None:
        return heads
    if asked < 1 or heads % asked:
        divisors = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise BlocksError(
            f"{type(config_of(network)).__name__}'s {heads} key-value heads cannot be cut into {asked} "
            f"groups; choose from: {divisors}"
        )
    return asked


def _parts(layer: nn.Module, count: int) -> tuple[Part, ...]:
    found = find_projections(layer)
    names = [found.attention, found.feed_forward]
    experts = [name for name in linear_names(layer) if name.rpartition(".")[2] == _EXPERTS]
    if any(f".{_EXPERTS}." in name for name in names):
        raise BlocksError(
            f"the experts of {type(layer).__name__} are modules of their own, which cannot be masked; choose "
            "a model whose experts are one module"
        )
    names += [name for name in experts if name not in names]
    return tuple(_part(layer, name, count, is_experts=name in experts) for name in names)


def _part(layer: nn.Module, name: str, count: int, *, is_experts: bool) -> Part:
    module = layer.get_submodule(name)
    if is_experts:
        return Part(name, module, cut(_num_experts(layer, module, count), count), (), True)
    shape = features(module)
    in_attention = is_in_attention(name)
    if shape is None or shape[0] < count or (in_attention and shape[0] % count):
        raise BlocksError(
            f"{name} of {type(layer).__name__} cannot be cut into {count} groups; choose fewer"
        )
    return Part(name, module, cut(shape[0], count), _rows(layer, name, shape, count))


def _num_experts(layer: nn.Module, module: Any, count: int) -> int:
    experts = getattr(getattr(module, "base_layer", module), "num_experts", None)
    if not isinstance(experts, int) or experts < count:
        raise BlocksError(
            f"{type(layer).__name__}'s {experts or 'unknown number of'} experts cannot be shared out among "
            f"{count} groups; choose fewer"
        )
    return experts


def _rows(layer: nn.Module, output: str, shape: tuple[int, int], count: int) -> tuple[Rows, ...]:
    """Maps from the hidden state whose outputs are heads, or the feed-forward part's inner width."""
    found = []
    in_attention = is_in_attention(output)
    for name in linear_names(layer):
        module = layer.get_submodule(name)
        wide = features(module)
        if wide is None or name == output or is_in_attention(name) != in_attention:
            continue
        if wide[0] == shape[1] and wide[1] % (count if in_attention else shape[0]) == 0:
            unit = _unit(layer, name) if in_attention else shape[0]
            found.append(Rows(name, module, wide[1] // unit if unit else 1))
    return tuple(found)


def _unit(layer: nn.Module, name: str) -> int | None:
    """Outputs of query, of key and of value where one map (GPT-2's) gives them one after the other."""
    return getattr(layer.get_submodule(name.rpartition(".")[0]), "split_size", None)


def _sizes(parts: Sequence[Part], count: int) -> list[float]:
    """Weights of each group."""
    sizes = [0.0] * count
    for part in parts:
        if part.is_experts:
            whole = float(sum(p.numel() for p in part.module.parameters()))
        else:
            maps = [features(module) for module in (*(r.module for r in part.rows), part.module)]
            whole = float(sum(shape[0] * shape[1] for shape in maps if shape))
        for group, width in enumerate(part.widths):
            sizes[group] += whole * width / part.bounds[-1]
    return sizes
