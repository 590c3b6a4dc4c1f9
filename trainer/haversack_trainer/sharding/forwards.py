"""A model that is only evaluated: its frozen weights are shared out by ZeRO-3, without an optimizer.

What is trained stays whole on every process, so that each changes all of it alike. A frozen weight is whole only
while its layer is in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor, nn

from haversack_trainer.model.held import InModule

from .deepspeed import configuration, gathered, load_deepspeed
from .world import World

_WEIGHTS_SHARDED: Final = 3
_NO_MODULE: Final = -1
"""A number that DeepSpeed gives to none."""


class Forwards:
    """An ``InParts``. ``trainables`` are the module's own, as they were before DeepSpeed took them."""

    def __init__(
        self, module: nn.Module, trainables: Sequence[tuple[str, nn.Parameter]], world: World
    ) -> None:
        self.world, self._trained = world, InModule(trainables)
        load_deepspeed().initialize(
            model=module, config=configuration(_WEIGHTS_SHARDED, bf16=False)
        )
        parameters: list[Any] = [parameter for _, parameter in trainables]
        parameters[0].all_gather(parameters)
        for parameter in parameters:
            # In use for ever, so never let go: DeepSpeed's own parts of it are out of date after the first step.
            parameter.ds_active_sub_modules.add(_NO_MODULE)

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return self._trained.trainables()

    def state(self) -> dict[str, Tensor]:
        return self._trained.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._trained.load(state)

    def whole(self, tensor: Tensor) -> Tensor:
        # What is trained is whole; to gather it would end with its going back to those parts.
        return tensor.detach() if tensor.requires_grad else gathered(tensor)
