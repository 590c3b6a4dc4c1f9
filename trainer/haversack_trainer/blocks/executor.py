"""Runs a network's layers as told: in full, forward only, or not at all.

A layer *instance's* ``forward`` is replaced while a plan holds. Gradient checkpointing wraps the class's
``forward``, so the replacement is outside of it: a skipped layer is not recomputed either. Nothing is
replaced between two plans, and a model that does not train ignores them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import BlocksError
from .layers import Layers
from .patch import passing, replaced
from .table import Op


class LayerExecutor:
    """For one network; not safe to use from two threads."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.executed: Counter[Op] = Counter()
        """Layers that were met with each operation, in training."""
        self._num_outputs: dict[type[nn.Module], int | None] = {}
        """Of a layer that returns a tuple its length, None for a tensor alone."""

    @contextmanager
    def under(self, ops: Sequence[Op], scales: Sequence[float] | None = None) -> Iterator[None]:
        """Forward and backward passes in here obey ``ops[layer]``. What a layer that runs adds to its
        hidden state is multiplied by ``scales[layer]``."""
        modules = self.layers.modules
        if len(ops) != len(modules) or (scales is not None and len(scales) != len(modules)):
            raise BlocksError(f"{len(ops)} operations for {len(modules)} layers")
        scales = scales or [1.0] * len(modules)
        with ExitStack() as stack:
            for module, op, scale in zip(modules, ops, scales, strict=True):
                forward = self._forward(module, op, scale)
                stack.enter_context(replaced(module, forward=forward))
            yield

    def _forward(self, module: nn.Module, op: Op, scale: float) -> Callable[..., Any]:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not module.training:
                return original(*args, **kwargs)
            self.executed[op] += 1
            if op is Op.SKIP:
                return self._skipped(module, original, args, kwargs)
            if op is Op.FORWARD:
                with torch.no_grad():
                    output = original(*args, **kwargs)
                return _changed(output, lambda new: passing(new, hidden_of(args, kwargs)))
            output = original(*args, **kwargs)
            if scale == 1.0:
                return output
            hidden = hidden_of(args, kwargs)
            return _changed(output, lambda new: hidden + (new - hidden) * scale)

        return forward

    def _skipped(
        self,
        module: nn.Module,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        hidden = hidden_of(args, kwargs)
        kind = type(module)
        if kind not in self._num_outputs:
            self._num_outputs[kind] = _num_outputs(original, args, kwargs)
        count = self._num_outputs[kind]
        return hidden if count is None else (hidden, *(None,) * (count - 1))


def _num_outputs(
    original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> int | None:
    """What the layer returns, found by running it once; torch's generators are left as they were."""
    with torch.random.fork_rng(enabled=True), torch.no_grad():
        output = original(*args, **kwargs)
    return len(output) if isinstance(output, tuple) else None


def hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a layer, or a part of one, was called with."""
    hidden = args[0] if args else kwargs.get("hidden_states")
    if not isinstance(hidden, Tensor):
        raise BlocksError(
            "a layer was called without a hidden state as its first argument or as hidden_states; "
            "choose another model"
        )
    return hidden


def _changed(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A layer's output with its hidden state, first of a tuple or alone, changed."""
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return change(output)
