"""Groups of a model: in each layer some attention heads and a slice of the feed-forward width (D2FT's subnets,
arXiv 2504.12471; with grouped queries a key-value head and its query heads). No family is known by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from torch import nn

from .errors import BlocksError
from .layers import Layers, config_of, find_layers
from .linear import features
from .projections import find_projections, is_in_attention, linear_names

_HEADS: Final = ("num_key_value_heads", "num_attention_heads")
_EXPERTS: Final = "experts"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One place of a layer where groups meet: the input of its last linear map, or its experts."""

    name: str
    """Dotted, inside the layer."""
    module: nn.Module
    """The linear map, peft's wrapper around it, or a mixture's fused experts."""
    bounds: tuple[int, ...]
    """Group g has ``bounds[g]`` to ``bounds[g + 1]`` of the input's width, or of the experts."""
    rows: tuple[str, ...]
    """Names of the linear maps whose outputs are cut like this one's input: query, key, value; gate, up."""
    is_experts: bool = False

    @property
    def num_groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in pairwise(self.bounds))


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
    sizes = [
        _sizes(layer, found, count) for layer, found in zip(layers.modules, parts, strict=True)
    ]
    mean = sum(map(sum, sizes)) / (len(sizes) * count)
    return Groups(layers, parts, count, tuple(tuple(size / mean for size in row) for row in sizes))


def cut(width: int, num_groups: int) -> tuple[int, ...]:
    """Bounds of equal slices, the last one shorter where they do not come out even; where that would leave
    none for it, slices differ by one at most."""
    each = -(-width // num_groups)
    if each * (num_groups - 1) < width:
        return (*(each * group for group in range(num_groups)), width)
    return tuple(width * group // num_groups for group in range(num_groups + 1))


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


def _rows(layer: nn.Module, output: str, shape: tuple[int, int], count: int) -> tuple[str, ...]:
    """Maps from the hidden state whose outputs are heads, or the feed-forward part's inner width."""
    found = []
    for name in linear_names(layer):
        wide = features(layer.get_submodule(name))
        if wide is None or name == output or is_in_attention(name) != is_in_attention(output):
            continue
        unit = count if is_in_attention(output) else shape[0]
        if wide[0] == shape[1] and wide[1] % unit == 0:
            found.append(name)
    return tuple(found)


def _sizes(layer: nn.Module, parts: Sequence[Part], count: int) -> list[float]:
    """Weights of each group."""
    sizes = [0.0] * count
    for part in parts:
        if part.is_experts:
            whole = float(sum(p.numel() for p in part.module.parameters()))
        else:
            maps = [features(layer.get_submodule(name)) for name in (*part.rows, part.name)]
            whole = float(sum(shape[0] * shape[1] for shape in maps if shape))
        for group, width in enumerate(part.widths):
            sizes[group] += whole * width / part.bounds[-1]
    return sizes
