"""Many sets of trainable tensors in one forward pass: the base model sees one large batch, each set its share of it.

Rows ``[p·n, (p + 1)·n)`` of every activation belong to point p. Only the modules that own trainable tensors
(LoRA's factors, a head) are told: they work on ``[points, n, ...]`` with tensors ``[points, ...]``, by ``vmap``.
Everything else, attention included, runs as always, on a batch that is ``points`` times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vmap

from .errors import ModelError


def stacked(parameters: Sequence[nn.Parameter], points: Tensor) -> dict[int, Tensor]:
    """Rows of ``points [p, d]`` cut into tensors ``[p, *shape]``, by the parameter's ``id``."""
    found: dict[int, Tensor] = {}
    end = 0
    for parameter in parameters:
        start, end = end, end + parameter.numel()
        found[id(parameter)] = points[:, start:end].view(len(points), *parameter.shape)
    return found


@contextmanager
def at_points(model: nn.Module, tensors: Mapping[int, Tensor], num_points: int) -> Iterator[None]:
    """Within, ``model`` takes batches of ``num_points`` equal shares, each with tensors of its own."""
    with ExitStack() as stack:
        for module in model.modules():
            own = {
                name: tensors[id(parameter)]
                for name, parameter in module.named_parameters(recurse=False)
                if id(parameter) in tensors
            }
            if own:
                stack.enter_context(_shared_out(module, own, num_points))
        yield


@contextmanager
def _shared_out(
    module: nn.Module, tensors: Mapping[str, Tensor], num_points: int
) -> Iterator[None]:
    inner = _Inner(module, module.forward)
    named = {f"module.{name}": tensor for name, tensor in tensors.items()}

    def one(own: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Any:
        return functional_call(inner, own, inputs)

    def forward(*inputs: Tensor) -> Tensor:
        if any(len(each) % num_points for each in inputs):
            raise ModelError(
                f"{type(module).__name__} does not see the batch first, so it cannot take several points "
                "in one pass; set method.spsa.pointsPerPass to 1"
            )
        shares = tuple(each.reshape(num_points, -1, *each.shape[1:]) for each in inputs)
        output: Tensor = vmap(one)(named, shares)
        return output.flatten(0, 1)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


class _Inner(nn.Module):
    """A module by its own ``forward``, which on the module itself is replaced."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(*inputs)
