"""A stack of small transformer layers, and data in pieces, as D2FT sees them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from layered_toys import LayeredToy
from torch import Tensor, nn
from toys import ToyBatch, ToyBatches

from haversack_trainer.data.batches import Piece

WIDTH = 8


class ToyAttention(nn.Module):
    """Heads that look at their own token only."""

    def __init__(self) -> None:
        super().__init__()
        self.v_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.o_proj(self.v_proj(hidden).tanh())
        return out


class MixingAttention(ToyAttention):
    """Of which no head can be run without the others."""

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.o_proj(self.v_proj(hidden).softmax(-1))
        return out


class ToyFeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.up_proj(hidden).relu())
        return out


class ToyBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = ToyAttention(), ToyFeedForward()

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.attn(hidden)
        out: Tensor = hidden + self.mlp(hidden) / 2
        return out


class ToyTransformer(nn.Module):
    def __init__(self, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_attention_heads=num_heads)
        self.layers = nn.ModuleList(ToyBlock() for _ in range(num_layers))
        self.head = nn.Linear(WIDTH, 3, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden[:, None]  # one token
        for layer in self.layers:
            hidden = layer(hidden)
        logits: Tensor = self.head(hidden[:, 0])
        return logits


class GroupedToy(LayeredToy):
    """Everything is trained, or with ``frozen`` all but the attention's projections; always the same weights."""

    def __init__(self, num_layers: int = 3, num_heads: int = 4, *, frozen: bool = False) -> None:
        super().__init__(num_layers)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = ToyTransformer(num_layers, num_heads)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad = not frozen or ".attn." in name

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        if self.held is not None:
            return self.held.trainables()
        named = self.network.named_parameters()
        return sorted((name, parameter) for name, parameter in named if parameter.requires_grad)


class PieceBatches(ToyBatches):
    """Batches of ten, cut as they are asked for; ``passes`` to a piece."""

    passes = 1

    def __init__(self, peer: int = 0, *, num_records: int = 40) -> None:
        super().__init__(peer, sizes=(10,), width=WIDTH, num_records=num_records)

    def pieces(self, step: int, count: int) -> list[Piece]:
        (whole,) = self.micro_batches(step)
        cuts = np.array_split(np.arange(10), count)
        return [
            Piece(
                (cut + 10 * step) % self.num_records,
                [
                    ToyBatch(whole.inputs[part], whole.targets[part])
                    for part in np.array_split(cut, self.passes)
                ],
            )
            for cut in cuts
        ]
