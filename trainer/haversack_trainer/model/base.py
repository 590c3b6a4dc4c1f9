"""The pre-trained model as its files hold it, before anything is put on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from haversack_trainer.contract.spec import Task

from .errors import THIRD_PARTY, ModelError, first_line

_AUTO: Final = {
    Task.SEQUENCE_CLASSIFICATION: "AutoModelForSequenceClassification",
    Task.IMAGE_CLASSIFICATION: "AutoModelForImageClassification",
    Task.CAUSAL_LM: "AutoModelForCausalLM",
    Task.MASKED_LM: "AutoModelForMaskedLM",
}
_HEADS: Final = ("classifier", "score")


@dataclass(frozen=True, slots=True)
class Base:
    """The model as it came."""

    model: Any
    task: Task
    new_modules: tuple[str, ...]
    """Modules whose weights were not in the files and are made from the seed."""
    unused: tuple[str, ...]
    """Tensors of the files that the model has no place for."""

    @property
    def trained_whole(self) -> list[str]:
        """The head and whatever else the files did not hold: they are always trained, and saved with
        the adapter."""
        if self.task in {Task.CAUSAL_LM, Task.MASKED_LM}:
            return []
        heads = [name for name, _ in self.model.named_children() if name in _HEADS]
        return heads + [name for name in self.new_modules if name.partition(".")[0] not in heads]

    def given(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What came with the files, by its names there; without a head if that is new."""
        made = tuple(f"{name}." for name in self.trained_whole) if self.new_modules else ()
        for name, tensor in self.model.state_dict().items():
            if not name.startswith(made):
                yield name, tensor


def load_base(task: Task, path: Path, config: Any) -> Base:
    """The weights in ``path``, fp32, on the CPU. Raises ``ModelError``."""
    import transformers
    from safetensors import SafetensorError

    try:
        model, info = getattr(transformers, _AUTO[task]).from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (*THIRD_PARTY, SafetensorError) as error:
        raise ModelError(f"{path} is no model for task {task}: {first_line(error)}") from error
    absent = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    may_be_new = task in {Task.SEQUENCE_CLASSIFICATION, Task.IMAGE_CLASSIFICATION}
    bad = [key for key in absent if not may_be_new or re.search(r"\.\d+\.", key)]
    if bad:
        raise ModelError(
            f"{path} does not hold the weights of {type(model).__name__}: {len(bad)} tensors are missing "
            f"or of another shape, e.g. {bad[0]}; correct model.uri or model.task"
        )
    new = tuple(sorted({key.rpartition(".")[0] for key in absent}))
    return Base(model, task, new, tuple(sorted(info["unexpected_keys"])))
