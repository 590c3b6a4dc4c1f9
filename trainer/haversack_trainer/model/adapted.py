"""A frozen base model and the LoRA adapter on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .folder import AdapterFolder
from .on_device import OnDevice
from .state import ADAPTER, digest, trainable_parameters
from .tasks import TaskHead


class AdaptedModel(OnDevice):
    """A ``FineTuned`` of which the adapter and a head are trained."""

    def __init__(
        self,
        peft_model: Any,
        head: TaskHead,
        device: torch.device,
        folder: AdapterFolder,
        head_is_new: bool,
    ) -> None:
        """``peft_model`` is a ``peft.PeftModel`` already on ``device``."""
        encoder = peft_model.get_base_model().base_model
        trainables = trainable_parameters(peft_model)
        super().__init__(peft_model, encoder, head, device, trainables, head_is_new=head_is_new)
        self._folder = folder

    def base_digest(self) -> str:
        return digest(self._frozen())

    def adapter_text(self) -> str:
        """Kind, rank, alpha and target modules."""
        return self._folder.text

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        with self._model.disable_adapter():
            yield

    @contextmanager
    def with_adapter(self, folder: Path) -> Iterator[None]:
        """PEFT layout, any rank."""
        with self._folder.loaded(self._model, folder):
            yield

    def save_adapter(self, folder: Path) -> None:
        """PEFT layout."""
        self._folder.save(folder, self.trainable_state(), self._model.config)

    @torch.no_grad()
    def update_ratios(self) -> dict[str, float]:
        return {
            name: float(module.get_delta_weight(ADAPTER).norm() / module.weight.norm())
            for name, module in self._model.named_modules()
            if ADAPTER in getattr(module, "lora_A", ())
        }

    def _frozen(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names as in the base model's own files."""
        for name, tensor in self._model.state_dict().items():
            is_head = ".original_module." in name
            if ".lora_" in name or ".modules_to_save." in name or (is_head and self.head_is_new):
                continue
            plain = name.replace(".base_layer", "").replace(".original_module", "")
            yield plain.removeprefix("base_model.model."), tensor
