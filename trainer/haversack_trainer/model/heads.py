"""Which task head goes with a job: its tokenizer, or the shape of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.spec import Task

from .completions import Completions
from .errors import THIRD_PARTY, ModelError, first_line
from .prompts import CausalPrompt, MaskedPrompt, prompted
from .tasks import (
    CausalLanguage,
    ImageClassification,
    MaskedLanguage,
    TaskHead,
    TextClassification,
    TextTokens,
)

_VOCABULARIES: Final = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken")


def task_head(job: JobFile, path: Path, config: Any, labels: Sequence[str]) -> TaskHead:
    """The head of the job's task; gives ``config`` a pad token where it has none. Raises ``ModelError``."""
    task, data = job.model.task, job.dataset
    if task is Task.IMAGE_CLASSIFICATION:
        return ImageClassification(_image_shape(config))
    tokenizer = _tokenizer(path, task)
    tokens = TextTokens(tokenizer, data.max_length)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    if data.prompt is not None:
        kind = CausalPrompt if task is Task.CAUSAL_LM else MaskedPrompt
        prompt = kind(tokenizer, data.prompt.template)
        return prompted(prompt, tokenizer, data.prompt, labels, data.max_length)
    if data.completion_column is not None:
        return Completions(tokenizer, data.max_length)
    if task is Task.CAUSAL_LM:
        return CausalLanguage(tokens)
    if task is Task.MASKED_LM:
        return MaskedLanguage(tokens, job.training.seed)
    return TextClassification(tokens)


def _tokenizer(path: Path, task: Task) -> Any:
    from transformers import AutoTokenizer

    # Without any of these files transformers would make up an empty vocabulary.
    if not any(file for pattern in _VOCABULARIES for file in path.glob(pattern)):
        raise ModelError(f"{path} holds no tokenizer ({', '.join(_VOCABULARIES)}); add the model's")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except THIRD_PARTY as error:
        raise ModelError(f"{path} holds no tokenizer that works: {first_line(error)}") from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ModelError(f"{path}: the tokenizer has neither a pad nor an eos token; add one")
    if task is Task.MASKED_LM and tokenizer.mask_token is None:
        raise ModelError(f"{path}: the tokenizer has no mask token; choose another model.task")
    return tokenizer


def _image_shape(config: Any) -> tuple[int, int, int]:
    size = getattr(config, "image_size", None)
    if size is None:
        raise ModelError("the model's config.json has no image_size; choose a ViT-like model")
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return getattr(config, "num_channels", 3), height, width
