"""What the tasks do differently: samples to tensors, and logits to one loss per sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from haversack_trainer.data import Batch, DataError, Samples
from haversack_trainer.data.samples import Pixels

IGNORED: Final = -100
"""Target of a position that counts for nothing."""
MASK_PERCENT: Final = 15
MASKED, RANDOM = 0.8, 0.1
"""Of a sample's tokens 15 % are to be guessed; 80 % of those are masked, 10 % replaced by a random
token, 10 % kept (Devlin et al., arXiv 1810.04805, section 3.1)."""

Losses = tuple[torch.Tensor, torch.Tensor | None]


class TaskHead(Protocol):
    """One task."""

    def encode(self, samples: Samples) -> Batch:
        """Model inputs and ``labels``. A function of the samples' content alone."""

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        """Per-sample losses ``[n]`` and, for classes, hits ``[n]``."""


def class_losses(logits: torch.Tensor, targets: torch.Tensor) -> Losses:
    """Cross-entropy of each sample, and whether its class has the highest score."""
    return cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


def _token_losses(logits: torch.Tensor, targets: torch.Tensor) -> Losses:
    """Mean over each sample's counted tokens; 0 where it has none."""
    losses = cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED)
    return losses.sum(1) / (targets != IGNORED).sum(1).clamp(min=1), None


def next_token_losses(logits: torch.Tensor, targets: torch.Tensor) -> Losses:
    """Mean over each sample's counted tokens, each guessed from those before it."""
    return _token_losses(logits[:, :-1], targets[:, 1:])


def _classes(samples: Samples) -> torch.Tensor:
    return torch.as_tensor(samples.labels, dtype=torch.long)


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Texts to padded token ids."""

    tokenizer: Any
    max_length: int

    def __call__(self, texts: Sequence[Any], **options: Any) -> dict[str, torch.Tensor]:
        return dict(
            self.tokenizer(
                list(texts),
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
                **options,
            )
        )


@dataclass(frozen=True, slots=True)
class TextClassification:
    tokens: TextTokens

    def encode(self, samples: Samples) -> Batch:
        return Batch(self.tokens(samples.inputs) | {"labels": _classes(samples)}, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        return class_losses(logits, targets)


@dataclass(frozen=True, slots=True)
class CausalLanguage:
    tokens: TextTokens

    def encode(self, samples: Samples) -> Batch:
        tensors = self.tokens(samples.inputs)
        targets = tensors["input_ids"].masked_fill(tensors["attention_mask"] == 0, IGNORED)
        return Batch(tensors | {"labels": targets}, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        return next_token_losses(logits, targets)


@dataclass(frozen=True, slots=True)
class MaskedLanguage:
    """Which tokens are hidden depends on the seed and the sample's own tokens only, so the loss of a
    sample is comparable between steps, peers and adapters."""

    tokens: TextTokens
    seed: int

    def encode(self, samples: Samples) -> Batch:
        tensors = self.tokens(samples.inputs, return_special_tokens_mask=True)
        special = tensors.pop("special_tokens_mask").bool()
        hidden = [self._hide(*row) for row in zip(tensors["input_ids"], special, strict=True)]
        ids, targets = (torch.stack(column) for column in zip(*hidden, strict=True))
        return Batch(tensors | {"input_ids": ids, "labels": targets}, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        return _token_losses(logits, targets)

    def _hide(self, ids: torch.Tensor, special: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``ids [length]`` with some hidden, and the targets."""
        maskable = np.flatnonzero(~special.numpy())
        content = hashlib.sha256(ids.numpy()[maskable].astype("<i8").tobytes()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(content[:8], "little")])
        count = min(len(maskable), max(1, round(len(maskable) * MASK_PERCENT / 100)))
        chosen = torch.as_tensor(rng.permutation(maskable)[:count])
        fate = torch.as_tensor(rng.random(count))
        tokenizer = self.tokens.tokenizer
        random = torch.as_tensor(rng.integers(len(tokenizer), size=count))
        targets = torch.full_like(ids, IGNORED)
        targets[chosen] = ids[chosen]
        hidden = torch.where(fate < MASKED + RANDOM, random, ids[chosen])
        changed = ids.clone()
        changed[chosen] = torch.where(fate < MASKED, tokenizer.mask_token_id, hidden)
        return changed, targets


@dataclass(frozen=True, slots=True)
class ImageClassification:
    """Images as they are in the file: flat in the order channel, row, column; ``[channel][row][column]``;
    ``[row][column][channel]``; or ``[row][column]`` for one channel. Values are used as they are."""

    shape: tuple[int, int, int]
    """Channels, height and width that the model takes."""

    def encode(self, samples: Samples) -> Batch:
        pixels = np.stack([self._arranged(image) for image in samples.inputs])
        tensors = {"pixel_values": torch.as_tensor(pixels), "labels": _classes(samples)}
        return Batch(tensors, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        return class_losses(logits, targets)

    def _arranged(self, image: Pixels | str) -> Pixels:
        pixels = np.asarray(image, np.float32)
        channels, height, width = self.shape
        if pixels.shape == (height, width, channels) and pixels.shape != self.shape:
            return np.ascontiguousarray(pixels.transpose(2, 0, 1))
        is_plain = pixels.ndim == 1 or pixels.shape == (height, width)
        if pixels.shape == self.shape or (is_plain and pixels.size == channels * height * width):
            return pixels.reshape(self.shape)
        raise DataError(
            f"an image of shape {list(pixels.shape)} does not fit the model, which takes "
            f"{channels} x {height} x {width}; resize the images of dataset.uri"
        )
