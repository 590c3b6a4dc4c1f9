"""Prompts and their completions: a causal model learns to say the completion, not the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from haversack_trainer.data import Batch, Samples
from haversack_trainer.data.samples import Exchange

from .prompts import padded, plain, start_of
from .tasks import IGNORED, Losses, next_token_losses


@dataclass(frozen=True, slots=True)
class Completions:
    """The loss is the mean over the completion's tokens, the end of text among them."""

    tokenizer: Any
    max_length: int

    def encode(self, samples: Samples) -> Batch:
        pairs = [self._ids(pair) for pair in samples.inputs]
        tensors = padded([prompt + said for prompt, said in pairs], self.tokenizer.pad_token_id)
        targets = [torch.tensor([IGNORED] * len(prompt) + said) for prompt, said in pairs]
        labels = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
        return Batch(tensors | {"labels": labels}, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        return next_token_losses(logits, targets)

    def _ids(self, pair: Exchange) -> tuple[list[int], list[int]]:
        """At least half of the room is the completion's if it needs it; the prompt is cut at its start,
        the completion at its end."""
        tokenizer, start = self.tokenizer, start_of(self.tokenizer)
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        prompt, said = plain(tokenizer, pair.prompt), plain(tokenizer, pair.completion) + end
        room = self.max_length - len(start)
        said = said[: max(room - len(prompt), room - room // 2)]
        return start + prompt[max(0, len(prompt) + len(said) - room) :], said
