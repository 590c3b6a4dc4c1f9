"""A small language model and real text for it, to see a method learn from nothing: 10 million weights on a
graphics card, 2 million on a CPU.

The text is the docstrings of Python's standard library, as bytes, so that no tokenizer is needed. Documents are
dealt to the nodes in turn; every tenth is held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from examples.demo.corpus import FAMILIES, texts
from numpy.typing import NDArray
from torch import Tensor, nn

SEED: Final = 17
CONTEXT: Final = 128
VOCABULARY: Final = 256
HELD_OUT_EVERY: Final = 10
NUM_HELD_OUT: Final = 64
SIZES: Final[dict[str, dict[str, Any]]] = {
    "cuda": {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 8},
    "cpu": {"hidden_size": 160, "intermediate_size": 432, "num_hidden_layers": 6},
}
NUM_HEADS: Final = 5


@dataclass(frozen=True, slots=True)
class Sequences:
    """A batch of byte sequences ``[n, CONTEXT]``."""

    tokens: Tensor

    @property
    def num_samples(self) -> int:
        return len(self.tokens)


def streams(num_nodes: int) -> tuple[Tensor, list[Tensor]]:
    """Held-out sequences ``[NUM_HELD_OUT, CONTEXT]`` and each node's training sequences."""
    documents = [text.encode() for family in FAMILIES for text in texts(family)]
    np.random.default_rng(SEED).shuffle(documents)
    held_out = documents[::HELD_OUT_EVERY]
    training = [text for n, text in enumerate(documents) if n % HELD_OUT_EVERY]
    parts = [_cut(training[node::num_nodes]) for node in range(num_nodes)]
    return _cut(held_out)[:NUM_HELD_OUT], parts


def _cut(documents: Sequence[bytes]) -> Tensor:
    raw: NDArray[np.uint8] = np.frombuffer(b"\0".join(documents), dtype=np.uint8)
    whole = len(raw) // CONTEXT * CONTEXT
    return torch.from_numpy(raw[:whole].astype(np.int64)).view(-1, CONTEXT)


@dataclass(frozen=True, slots=True)
class Batches:
    """A node's own sequences; the batch of a step is a function of (node, step)."""

    sequences: Tensor
    node: int
    batch_size: int

    def micro_batches(self, step: int) -> Sequence[Sequences]:
        picks = np.random.default_rng((SEED, self.node, step))
        rows = picks.choice(len(self.sequences), self.batch_size, replace=False)
        return [Sequences(self.sequences[torch.from_numpy(rows)])]


class SmallLm:
    """A Llama with random weights, the same for every node; all of them are trained."""

    def __init__(self, device: torch.device) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(SEED)
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=CONTEXT,
            num_attention_heads=NUM_HEADS,
            num_key_value_heads=NUM_HEADS,
            **SIZES[device.type],
        )
        self.device = device
        self._model = LlamaForCausalLM(config).to(device)

    @property
    def num_weights(self) -> int:
        return sum(parameter.numel() for _, parameter in self.trainables())

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return sorted(self._model.named_parameters())

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: p.detach().to("cpu", copy=True) for name, p in self.trainables()}

    @torch.no_grad()
    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        for name, parameter in self.trainables():
            parameter.copy_(state[name])

    def loss(self, batch: Sequences) -> Tensor:
        tokens = batch.tokens.to(self.device)
        logits = self._model(tokens[:, :-1]).logits.float()
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def train(self, mode: bool) -> None:
        self._model.train(mode)
