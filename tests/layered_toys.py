"""A stack of residual layers with adapters, as a method sees it that drops layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from toys import ToyBatch, ToyModel

from haversack_trainer.model.held import Held


class ToyLayer(nn.Module):
    """``x + tanh(x + B·A·x)``."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, width) * 0.3)
        self.lora_B = nn.Parameter(torch.randn(width, rank) * 0.3)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + (hidden + hidden @ self.lora_A.T @ self.lora_B.T).tanh() / 4


class ToyStack(nn.Module):
    def __init__(self, num_layers: int, width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ToyLayer(width, 2) for _ in range(num_layers))
        self.head = nn.Linear(width, classes, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class LayeredToy(ToyModel):
    """Implements ``method.LayeredTrainee``; always the same weights."""

    def __init__(self, num_layers: int = 4, *, width: int = 6, classes: int = 3) -> None:
        super().__init__(width=width, classes=classes)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network: nn.Module = ToyStack(num_layers, width, classes)
        self.machine_class, self.room, self.has_classes = "toy", num_layers, True
        self.held: Held | None = None

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return sorted(self.network.named_parameters())

    def sample_losses(self, batch: ToyBatch) -> Tensor:
        out: Tensor = self.network(batch.inputs)
        return (out - batch.targets).square().mean(1)

    def share_out(self, held: Held) -> None:
        self.held = held

    def losses(self, batch: ToyBatch) -> tuple[Tensor, Tensor | None]:
        right = self.network(batch.inputs).argmax(1) == batch.targets.argmax(1)
        return self.sample_losses(batch), right if self.has_classes else None

    def fits(self, active_layers: int) -> bool:
        return active_layers <= self.room

    def train(self, mode: bool) -> None:
        self.network.train(mode)
