"""A frozen base model and the LoRA adapter on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .folder import AdapterFolder
from .held import Whole, as_it_is
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
        *,
        head_is_new: bool,
        whole: Whole = as_it_is,
        original: str | None = None,
    ) -> None:
        """``peft_model`` is a ``peft.PeftModel`` already on ``device``. ``original``: what the base's digest
        is where its weights are not those of its files any more."""
        encoder = peft_model.get_base_model().base_model
        trainables = trainable_parameters(peft_model)
        super().__init__(
            peft_model, encoder, head, device, trainables, head_is_new=head_is_new, whole=whole
        )
        self._folder, self._original = folder, original

    def base_digest(self) -> str:
        return self._original or digest(self._frozen(), self._held.whole)

    def adapter_text(self) -> str:
        """Kind, rank, alpha and target modules."""
        return self._folder.text

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        with self._model.disable_adapter():
            yield

    @contextmanager
    def with_adapter(self, folder: Path) -> Iterator[None]:
        """PEFT layout, any rank; of the trained one's kind where the weights are in parts."""
        if not self._is_shared_out:
            with self._folder.loaded(self._model, folder):
                yield
            return
        # A second adapter has no place among weights in parts: it takes the trained one's for a while.
        other, trained = self._folder.read(folder), self.trainable_state()
        self.load_trainable_state(other)
        try:
            yield
        finally:
            self.load_trainable_state(trained)

    def save_adapter(self, folder: Path) -> None:
        """PEFT layout."""
        self._folder.save(folder, self.trainable_state(), self._model.config)

    @torch.no_grad()
    def update_ratios(self) -> dict[str, float]:
        return {
            name: float(self._update(module).norm() / self._whole(module.weight).norm())
            for name, module in self._model.named_modules()
            if ADAPTER in getattr(module, "lora_A", ())
        }

    def _update(self, module: Any) -> torch.Tensor:
        """What the adapter adds to a layer's weight, but for the order of its axes."""
        down, up = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
        product: torch.Tensor = module.scaling[ADAPTER] * (self._whole(up) @ self._whole(down))
        return product

    def _whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._held.whole(tensor).detach().float()

    def _frozen(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names as in the base model's own files."""
        live = dict(self._model.named_parameters(remove_duplicate=False))
        for name, copy in self._model.state_dict().items():
            tensor = live.get(name, copy)
            is_head = ".original_module." in name
            if ".lora_" in name or ".modules_to_save." in name or (is_head and self.head_is_new):
                continue
            plain = name.replace(".base_layer", "").replace(".original_module", "")
            yield plain.removeprefix("base_model.model."), tensor
