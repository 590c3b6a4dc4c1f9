"""LoRA on a base model, by peft."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.spec import ModelSpec, Task

from .base import Base
from .errors import THIRD_PARTY, ModelError, first_line
from .state import ADAPTER
from .targets import is_linear, target_modules

_PEFT_TASK: Final = {Task.SEQUENCE_CLASSIFICATION: "SEQ_CLS", Task.CAUSAL_LM: "CAUSAL_LM"}


def with_lora(job: JobFile, base: Base, path: Path) -> tuple[Any, Any]:
    """The model as a ``peft.PeftModel`` with a fresh adapter, and its ``LoraConfig``. Raises
    ``ModelError``."""
    from peft import LoraConfig, get_peft_model

    spec = job.adapter.lora_or_default
    whole = base.trained_whole or None
    targets = target_modules(base.model, spec.target_modules)
    lora = LoraConfig(
        task_type=_PEFT_TASK.get(base.task),
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=float(spec.dropout),
        target_modules=targets,
        modules_to_save=list(whole) if whole else None,
        fan_in_fan_out=_is_transposed(base.model, targets),
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 still asks for a property that transformers 5.23 has renamed.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            model = get_peft_model(base.model, lora, adapter_name=ADAPTER)
    except THIRD_PARTY as error:
        raise ModelError(f"LoRA cannot be put on the model: {first_line(error)}") from error
    lora.modules_to_save = whole  # without the names that peft adds on suspicion
    lora.base_model_name_or_path, lora.revision = _base_name(job.model, path), job.model.revision
    return model, lora


def _is_transposed(model: Any, targets: Sequence[str]) -> bool:
    adapted = (m for n, m in model.named_modules() if n.endswith(tuple(targets)) and is_linear(m))
    return all(not isinstance(module, torch.nn.Linear) for module in adapted)


def _base_name(spec: ModelSpec, path: Path) -> str:
    """What ``from_pretrained`` can find the base by, where it can."""
    scheme, _, rest = spec.uri.partition("://")
    return {"hf": rest, "file": str(path)}.get(scheme, spec.uri)
