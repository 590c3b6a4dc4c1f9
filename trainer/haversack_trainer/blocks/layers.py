"""Where a transformer's layers are, and which of them must always run. No family is known by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from .errors import BlocksError

_MULTI_STREAM: Final = ("altup_num_inputs",)
"""Config fields of models whose layers pass on several streams: none of them can be left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The stack of one model."""

    path: str
    """Dotted name of the ``ModuleList``."""
    modules: tuple[nn.Module, ...]
    structural: frozenset[int]
    """Layers that must always run, since others read from them."""

    def __len__(self) -> int:
        return len(self.modules)

    def of_parameters(self, named: Iterator[tuple[str, nn.Parameter]]) -> dict[str, int]:
        """The layer of each parameter that lies in one, by the names that are given."""
        index = {
            id(parameter): layer
            for layer, module in enumerate(self.modules)
            for parameter in module.parameters()
        }
        return {name: index[id(p)] for name, p in named if id(p) in index}


def find_layers(network: nn.Module, path: str | None = None) -> Layers:
    """The ``ModuleList`` of at least two members of one class that holds the most parameters, or the one at
    ``path``. Raises ``BlocksError`` naming the model's class where there is none."""
    lists = dict(_stacks(network))
    name = type(_unwrapped(network)).__name__
    if path is not None and path not in lists:
        raise BlocksError(
            f"{name} has no stack of layers at {path!r}; choose from: {', '.join(lists) or 'none'}"
        )
    if not lists:
        raise BlocksError(
            f"{name} has no list of two or more layers of one class, so its layers cannot be found; "
            "choose another model or another method"
        )
    chosen = path or max(lists, key=lambda key: _num_parameters(lists[key]))
    modules = tuple(lists[chosen])
    return Layers(chosen, modules, structural_layers(config_of(network), len(modules)))


def structural_layers(config: Any, num_layers: int) -> frozenset[int]:
    """Layers that others read from, as the fields of the model's config tell. ``config`` may be None.

    * ``conv_kernel_size`` (DeBERTa v2): a convolution takes the first layer's output beside the embeddings.
    * ``num_kv_shared_layers`` (Gemma 3n, 4): the last layers use keys and values of the last one of their
      type before them.
    * several residual streams: every layer.
    """
    if any((getattr(config, field, None) or 0) > 1 for field in _MULTI_STREAM):
        return frozenset(range(num_layers))
    found: set[int] = set()
    if (getattr(config, "conv_kernel_size", None) or 0) > 0:
        found.add(0)
    shared = getattr(config, "num_kv_shared_layers", None) or 0
    if 0 < shared < num_layers:
        found |= _key_value_sources(getattr(config, "layer_types", None), num_layers - shared)
    return frozenset(found)


def _key_value_sources(types: list[str] | None, first_shared: int) -> set[int]:
    """The last layer of each type before ``first_shared``."""
    if not types:
        return {first_shared - 1}
    last: Mapping[str, int] = {types[index]: index for index in range(first_shared)}
    return set(last.values())


def _stacks(network: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1:
            (first, *others) = (type(member) for member in module)
            if all(other is first for other in others) and _num_parameters(module):
                yield name, module


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _unwrapped(network: nn.Module) -> nn.Module:
    """The model under peft's wrapper."""
    inner = getattr(network, "get_base_model", None)
    return inner() if callable(inner) else network


def config_of(network: nn.Module) -> Any:
    """The text part's config, where a model has several parts."""
    config = getattr(_unwrapped(network), "config", None)
    return getattr(config, "text_config", None) or config
