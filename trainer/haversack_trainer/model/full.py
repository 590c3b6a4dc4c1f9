"""A model all of whose weights are trained, in fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import nn

from .base import Base
from .errors import ModelError
from .model_folder import ModelFolder
from .on_device import OnDevice
from .state import digest, trainable_parameters
from .tasks import TaskHead

TEXT: Final = '{"type":"Full"}'
MATRIX_DIMENSIONS: Final = 2


class FullModel(OnDevice):
    """A ``FineTuned`` that is one model. Its base is not kept beside it: who asks for that reads it again."""

    def __init__(
        self,
        fresh: Callable[[], Base],
        head: TaskHead,
        device: torch.device,
        folder: ModelFolder,
    ) -> None:
        """``fresh`` loads the base on the CPU, with the same new head each time."""
        base = fresh()
        _refuse_running_statistics(base.model)
        self._base_digest = digest(base.given())
        self._made = tuple(f"{name}." for name in base.trained_whole)
        model = base.model.requires_grad_(True).to(device)
        trainables = trainable_parameters(model)
        new = bool(base.new_modules)
        super().__init__(model, model.base_model, head, device, trainables, head_is_new=new)
        self._fresh, self._folder = fresh, folder

    def base_digest(self) -> str:
        return self._base_digest

    def adapter_text(self) -> str:
        return TEXT

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        with self._standing_in(_parameters(self._fresh())):
            yield

    @contextmanager
    def with_adapter(self, folder: Path) -> Iterator[None]:
        """A model folder in Hugging Face layout."""
        with self._standing_in(_parameters(self._folder.read(folder))):
            yield

    def save_adapter(self, folder: Path) -> None:
        """A model folder in Hugging Face layout, with the base's tokenizer."""
        state = self.trainable_state() if self._is_shared_out else None
        self._folder.save(folder, self._model, state)

    @torch.no_grad()
    def update_ratios(self) -> dict[str, float]:
        """Of the matrices that came with the model."""
        before = _parameters(self._fresh())
        return {
            name: float((values - before[name]).norm() / before[name].norm())
            for name, values in self.trainable_state().items()
            if values.ndim >= MATRIX_DIMENSIONS and not name.startswith(self._made)
        }

    @contextmanager
    def _standing_in(self, state: Mapping[str, torch.Tensor]) -> Iterator[None]:
        trained, was_training = self.trainable_state(), self.is_training
        self.load_trainable_state(state)
        try:
            yield
        finally:
            self.load_trainable_state(trained)
            self.train(was_training)


def _parameters(base: Base) -> dict[str, nn.Parameter]:
    return dict(trainable_parameters(base.model))


def _refuse_running_statistics(model: nn.Module) -> None:
    """Peers exchange parameters; statistics that change in passing would differ, and not be published."""
    for name, module in model.named_modules():
        if getattr(module, "track_running_stats", False):
            raise ModelError(
                f"{type(model).__name__} keeps running statistics ({name}), which are no parameters to "
                "train; write adapter.type LoRA or choose a model with layer norm"
            )
