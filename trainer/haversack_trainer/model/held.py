"""Where a model's weights are: in the module itself, or in parts on the processes of a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn

from .state import copy_into

Whole = Callable[[torch.Tensor], torch.Tensor]
"""From a parameter as the module has it to all of its values."""


class Held(Protocol):
    """The trainable tensors. In a pod with several processes every function is called on all of them."""

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        """Canonical name and parameter, sorted by name."""

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of the whole tensors on the CPU, fp32, in canonical order."""

    def load(self, state: Mapping[str, torch.Tensor], /) -> None:
        """Inverse of ``state``. Raises ``ModelError`` and changes nothing if names or shapes differ."""

    def whole(self, tensor: torch.Tensor, /) -> torch.Tensor:
        """All values of one of the module's parameters."""


def as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    """Of a module that is not in parts."""
    return tensor


class InModule:
    """Before the model is shared out, or where there is one process: in the module's own parameters."""

    def __init__(
        self, trainables: Sequence[tuple[str, nn.Parameter]], whole: Whole = as_it_is
    ) -> None:
        self._trainables = list(trainables)
        self.whole = whole

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._trainables)

    def state(self) -> dict[str, torch.Tensor]:
        return {
            name: self.whole(parameter).detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, parameter in self._trainables
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        copy_into(self._trainables, state)
