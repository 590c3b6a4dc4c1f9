"""Classification by words: a prompt, and which of a few words the model would go on with.

The loss is the cross-entropy over the label words' scores at one place, as MeZO's prompted tasks have it (Malladi
et al., arXiv 2305.17333, appendix; Gao et al., arXiv 2012.15723, for masked models): no head is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch.nn.utils.rnn import pad_sequence

from haversack_trainer.contract.prompt import ANSWER, TEXT, PromptSpec
from haversack_trainer.data import Batch, Samples

from .errors import ModelError
from .tasks import IGNORED, Losses, class_losses

WHERE: Final = "dataset.prompt"


class Prompt(Protocol):
    """A template in one kind of model's tokens."""

    def ids(self, text: str) -> list[int]:
        """Of the prompt with ``text`` in it, however long."""

    def place(self, ids: Sequence[int]) -> int:
        """Where the scores of the answer are."""

    def first_token(self, word: str) -> int | None:
        """Of a label word where it stands as the answer; None if it does not stand by itself there."""


@dataclass(frozen=True, slots=True)
class CausalPrompt:
    """The answer is what comes next."""

    tokenizer: Any
    template: str

    def ids(self, text: str) -> list[int]:
        return start_of(self.tokenizer) + plain(self.tokenizer, self.template.replace(TEXT, text))

    def place(self, ids: Sequence[int]) -> int:
        return len(ids) - 1

    def first_token(self, word: str) -> int | None:
        before = plain(self.tokenizer, self.template)
        after = plain(self.tokenizer, self.template + word)
        stands = len(after) > len(before) and after[: len(before)] == before
        return after[len(before)] if stands else None


@dataclass(frozen=True, slots=True)
class MaskedPrompt:
    """The answer is behind the mask."""

    tokenizer: Any
    template: str

    def ids(self, text: str) -> list[int]:
        filled = self.template.replace(ANSWER, self.tokenizer.mask_token).replace(TEXT, text)
        whole: list[int] = self.tokenizer(filled).input_ids
        return whole

    def place(self, ids: Sequence[int]) -> int:
        """A text may hold masks of its own, all of them on one side of the answer's."""
        masks = [at for at, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        return masks[0 if self.template.index(ANSWER) < self.template.index(TEXT) else -1]

    def first_token(self, word: str) -> int | None:
        return next(iter(plain(self.tokenizer, word)), None)


@dataclass(frozen=True, slots=True)
class PromptedClasses:
    """Texts to prompts of at most ``max_length`` tokens: the text is cut at its end, the template never."""

    prompt: Prompt
    tokenizer: Any
    max_length: int
    words: tuple[int, ...]
    """For each class the token that stands for it."""

    def encode(self, samples: Samples) -> Batch:
        rows = [self._fitting(text) for text in samples.inputs]
        tensors = padded(rows, self.tokenizer.pad_token_id)
        targets = torch.full_like(tensors["input_ids"], IGNORED)
        places = [self.prompt.place(ids) for ids in rows]
        targets[range(len(rows)), places] = torch.as_tensor(samples.labels, dtype=torch.long)
        return Batch(tensors | {"labels": targets}, len(samples))

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        place = (targets != IGNORED).int().argmax(1)
        rows = torch.arange(len(targets), device=targets.device)
        scores = logits[rows, place][:, list(self.words)]
        return class_losses(scores, targets[rows, place])

    def _fitting(self, text: str) -> list[int]:
        ids = self.prompt.ids(text)
        while len(ids) > self.max_length:
            text = self._shorter(text, len(ids) - self.max_length)
            ids = self.prompt.ids(text)
        return ids

    def _shorter(self, text: str, num_tokens: int) -> str:
        options = {"add_special_tokens": False, "return_offsets_mapping": True}
        starts = [start for start, _ in self.tokenizer(text, **options)["offset_mapping"]]
        return text[: starts[-num_tokens]] if num_tokens < len(starts) else ""


def prompted(
    prompt: Prompt, tokenizer: Any, spec: PromptSpec, labels: Sequence[str], max_length: int
) -> PromptedClasses:
    """The head of a checked prompt. Raises ``ModelError``."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{WHERE}: the model's tokenizer has no tokenizer.json, which prompts need"
        )
    shortest = len(prompt.ids(""))
    if shortest >= max_length:
        raise ModelError(
            f"{WHERE}.template alone takes {shortest} tokens, dataset.maxLength is {max_length}; "
            "shorten it or raise dataset.maxLength"
        )
    words = tuple(_token(prompt, tokenizer, spec.verbalisers[label]) for label in labels)
    for at, token in enumerate(words):
        if (first := words.index(token)) != at:
            one, other = (spec.verbalisers[labels[i]] for i in (first, at))
            raise ModelError(
                f"{WHERE}.verbalisers: {one!r} and {other!r} start with the same token; choose words that "
                "differ from the start"
            )
    return PromptedClasses(prompt, tokenizer, max_length, words)


def _token(prompt: Prompt, tokenizer: Any, word: str) -> int:
    token = prompt.first_token(word)
    if token is None:
        raise ModelError(
            f"{WHERE}.verbalisers: {word!r} is no word of its own after the template; let the template end "
            "without a space and the word begin with one"
        )
    if token == tokenizer.unk_token_id:
        raise ModelError(f"{WHERE}.verbalisers: the model does not know {word!r}; choose another")
    return token


def plain(tokenizer: Any, text: str) -> list[int]:
    """Token ids of ``text`` alone."""
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def start_of(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: its bos token, or nothing."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a").input_ids[:1] == [bos] else []


def padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """``input_ids`` and ``attention_mask``, ``[n, longest]``, padded on the right."""
    ids = [torch.tensor(row, dtype=torch.long) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
    }
