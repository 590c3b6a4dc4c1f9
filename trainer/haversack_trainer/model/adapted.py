"""A frozen base model and the adapter on it, as methods, evaluation and checkpoints use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from haversack_trainer.data import Batch, Samples
from haversack_trainer.data.samples import Indices

from .folder import AdapterFolder
from .state import ADAPTER, copy_into, digest, trainable_parameters
from .tasks import TaskHead


class AdaptedModel:
    """Built by ``load.load_model``. Not safe to use from two threads."""

    def __init__(
        self,
        peft_model: Any,
        head: TaskHead,
        device: torch.device,
        folder: AdapterFolder,
        head_is_new: bool,
    ) -> None:
        """``peft_model`` is a ``peft.PeftModel`` already on ``device``."""
        self.device = device
        self.head_is_new = head_is_new
        """True if the model came without a head for these classes: the base is then untrained."""
        self._model = peft_model
        self._head = head
        self._folder = folder
        self._trainables = trainable_parameters(peft_model)

    def train(self, mode: bool = True) -> None:
        """Dropout on or off."""
        self._model.train(mode)

    @property
    def is_training(self) -> bool:
        """True while dropout is on."""
        return bool(self._model.training)

    def encode(self, samples: Samples, indices: Indices) -> Batch:
        """The samples at ``indices`` as tensors on the CPU. Deterministic in their content."""
        return self._head.encode(samples.take(indices))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the samples of ``losses``: a scalar in fp32 that can be differentiated."""
        return self.losses(batch)[0].mean()

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Loss of each sample ``[n]`` in fp32, for language models the mean over its tokens; and for
        classification whether each was right ``[n]``."""
        tensors = {name: tensor.to(self.device) for name, tensor in batch.tensors.items()}
        targets = tensors.pop("labels")
        return self._head.losses(self._model(**tensors).logits.float(), targets)

    @torch.no_grad()
    def features(self, batch: Batch) -> torch.Tensor:
        """What the base's encoder makes of each sample: the last hidden state, mean over its tokens,
        ``[n, hidden size]``, on the CPU."""
        tensors = {name: tensor.to(self.device) for name, tensor in batch.tensors.items()}
        tensors.pop("labels")
        with self.without_adapter():
            hidden = self._model.get_base_model().base_model(**tensors).last_hidden_state.float()
        mask = tensors.get("attention_mask", torch.ones(hidden.shape[:2], device=self.device))
        weight = mask.unsqueeze(-1).float()
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return torch.as_tensor(mean.cpu())

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        """Canonical name (as in the adapter's file) and parameter, sorted by name, each storage once."""
        return list(self._trainables)

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """Copies of the trainables on the CPU, fp32, in canonical order."""
        return {
            name: parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, parameter in self._trainables
        }

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set the trainables. Raises ``ModelError`` and changes nothing if names or shapes differ."""
        copy_into(self._trainables, state)

    def base_digest(self) -> str:
        """sha256 over the frozen weights, without a head that this job itself made; hex."""
        return digest(self._frozen())

    def trainables_digest(self) -> str:
        """sha256 over names, shapes and bytes of the trainables; hex."""
        return digest(self._trainables)

    def adapter_text(self) -> str:
        """Kind, rank, alpha and target modules in canonical order, for ``Identity.adapter``."""
        return self._folder.text

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base model: no LoRA, and the head as it was at the start."""
        with self._model.disable_adapter():
            yield

    @contextmanager
    def with_adapter(self, folder: Path) -> Iterator[None]:
        """The adapter in ``folder`` (PEFT layout, any rank) in place of the trained one.

        Raises ``ModelError`` if it is not whole or belongs to another model."""
        with self._folder.loaded(self._model, folder):
            yield

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter in PEFT layout; the same adapter gives the same bytes."""
        self._folder.save(folder, self.trainable_state(), self._model.config)

    @torch.no_grad()
    def update_ratios(self) -> dict[str, float]:
        """For each adapted layer the norm of its update over that of the weight it corrects."""
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
