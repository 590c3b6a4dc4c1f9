"""What both kinds of trained model do alike: samples to losses, and the trainable tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from haversack_trainer.data import Batch, Samples
from haversack_trainer.data.samples import Indices

from .held import Held, InModule, Whole, as_it_is
from .points import at_points, stacked
from .state import digest
from .tasks import TaskHead


class OnDevice:
    """A torch model on its device, and the parameters of it that are trained. See ``FineTuned``."""

    def __init__(
        self,
        model: Any,
        encoder: Any,
        head: TaskHead,
        device: torch.device,
        trainables: Sequence[tuple[str, nn.Parameter]],
        *,
        head_is_new: bool,
        whole: Whole = as_it_is,
    ) -> None:
        """``encoder`` is the part of ``model`` below its head; ``whole`` reads a parameter of a model that was
        loaded in parts."""
        self._model, self._encoder, self._head = model, encoder, head
        self._device, self._head_is_new = device, head_is_new
        self._held: Held = InModule(trainables, whole)
        self.fits: Callable[[int], bool] = lambda _: True
        """Whether a step through so many layers has room here; set by who knows the job."""

    @property
    def module(self) -> nn.Module:
        """What is shared out over the processes of a pod."""
        module: nn.Module = self._model
        return module

    def share_out(self, held: Held) -> None:
        """From now on the weights are in parts."""
        self._held = held

    @property
    def _is_shared_out(self) -> bool:
        return not isinstance(self._held, InModule)

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def head_is_new(self) -> bool:
        return self._head_is_new

    @property
    def network(self) -> nn.Module:
        """The model itself, for ``blocks``."""
        module: nn.Module = self._model
        return module

    @property
    def machine_class(self) -> str:
        """Kind of device, and the power of two of its memory in GiB."""
        if self._device.type != "cuda":
            return self._device.type
        size = torch.cuda.get_device_properties(self._device).total_memory
        return f"cuda-{round(math.log2(size / 2**30))}"

    @property
    def is_training(self) -> bool:
        return bool(self._model.training)

    def train(self, mode: bool = True) -> None:
        self._model.train(mode)

    def encode(self, samples: Samples, indices: Indices) -> Batch:
        return self._head.encode(samples.take(indices))

    def loss(self, batch: Batch) -> torch.Tensor:
        return self.losses(batch)[0].mean()

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        tensors = self._on_device(batch)
        targets = tensors.pop("labels")
        return self._head.losses(self._model(**tensors).logits.float(), targets)

    def sample_losses(self, batch: Batch) -> torch.Tensor:
        return self.losses(batch)[0]

    @torch.no_grad()
    def losses_at(self, points: torch.Tensor, batch: Batch) -> torch.Tensor:
        num_points = len(points)
        tensors = {
            name: tensor.repeat(num_points, *[1] * (tensor.dim() - 1))
            for name, tensor in batch.tensors.items()
        }
        own = stacked([parameter for _, parameter in self._held.trainables()], points)
        with at_points(self._model, own, num_points):
            losses = self.sample_losses(Batch(tensors, num_points * batch.num_samples))
        return losses.view(num_points, -1)

    @torch.no_grad()
    def features(self, batch: Batch) -> torch.Tensor:
        tensors = self._on_device(batch)
        tensors.pop("labels")
        hidden = self._encoded(tensors).float()
        mask = tensors.get("attention_mask", torch.ones(hidden.shape[:2], device=self._device))
        weight = mask.unsqueeze(-1).float()
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return torch.as_tensor(mean.cpu())

    def _encoded(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The whole model is called: weights that are in parts are gathered on its way."""
        seen: list[torch.Tensor] = []
        hook = self._encoder.register_forward_hook(
            lambda *call: seen.append(call[2].last_hidden_state)
        )
        try:
            self._model(**tensors)
        finally:
            hook.remove()
        return seen[0]

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return self._held.trainables()

    def trainable_state(self) -> dict[str, torch.Tensor]:
        return self._held.state()

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        self._held.load(state)

    def trainables_digest(self) -> str:
        return digest(self.trainable_state().items())

    def _on_device(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self._device) for name, tensor in batch.tensors.items()}
