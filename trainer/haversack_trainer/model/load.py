"""A folder in Hugging Face layout to an ``AdaptedModel``, the same on every machine of a run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.spec import ModelSpec, Task

from .adapted import AdaptedModel
from .errors import ModelError
from .folder import AdapterFolder
from .state import ADAPTER
from .targets import is_linear, target_modules
from .tasks import (
    CausalLanguage,
    ImageClassification,
    MaskedLanguage,
    TaskHead,
    TextClassification,
    TextTokens,
)

_AUTO: Final = {
    Task.SEQUENCE_CLASSIFICATION: "AutoModelForSequenceClassification",
    Task.IMAGE_CLASSIFICATION: "AutoModelForImageClassification",
    Task.CAUSAL_LM: "AutoModelForCausalLM",
    Task.MASKED_LM: "AutoModelForMaskedLM",
}
_PEFT_TASK: Final = {Task.SEQUENCE_CLASSIFICATION: "SEQ_CLS", Task.CAUSAL_LM: "CAUSAL_LM"}
_HEADS: Final = ("classifier", "score")
_VOCABULARIES: Final = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken")
_THIRD_PARTY: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError)


@dataclass(frozen=True, slots=True)
class _Base:
    """The model as it came, before the adapter."""

    model: Any
    new_modules: tuple[str, ...]
    """Modules whose weights were not in the files and are made from the seed."""


def load_model(job: JobFile, path: Path, labels: Sequence[str]) -> AdaptedModel:
    """The model in ``path`` with a fresh adapter, on CUDA if there is one. Raises ``ModelError``.

    ``labels`` names the classes (empty for language models). Adapter and new head are drawn on the CPU
    from ``training.seed``, so that they are the same on every kind of machine.
    """
    config = _config(job.model.task, path, labels)
    head = _head(job, path, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.training.seed)
        base = _base(job.model.task, path, config)
        model, lora = _with_lora(job, base, path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = AdapterFolder(lora, has_labels=bool(labels))
    return AdaptedModel(model.to(device), head, device, folder, head_is_new=bool(base.new_modules))


def _config(task: Task, path: Path, labels: Sequence[str]) -> Any:
    from transformers import AutoConfig

    if not (path / "config.json").is_file():
        raise ModelError(
            f"{path} holds no config.json; model.uri must be a Hugging Face model folder"
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            f"{path} holds no *.safetensors; convert the model's weights to safetensors"
        )
    classes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {n: i for i, n in enumerate(labels)},
    }
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        config.update(classes if labels else {})
    except _THIRD_PARTY as error:
        raise ModelError(f"{path}/config.json cannot be used: {_first_line(error)}") from error
    if task is Task.CAUSAL_LM:
        config.use_cache = False
    return config


def _head(job: JobFile, path: Path, config: Any) -> TaskHead:
    task = job.model.task
    if task is Task.IMAGE_CLASSIFICATION:
        return ImageClassification(_image_shape(config))
    tokens = TextTokens(_tokenizer(path, task), job.dataset.max_length)
    if config.pad_token_id is None:
        config.pad_token_id = tokens.tokenizer.pad_token_id
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
    except _THIRD_PARTY as error:
        raise ModelError(f"{path} holds no tokenizer that works: {_first_line(error)}") from error
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


def _base(task: Task, path: Path, config: Any) -> _Base:
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
    except (*_THIRD_PARTY, SafetensorError) as error:
        raise ModelError(f"{path} is no model for task {task}: {_first_line(error)}") from error
    absent = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    may_be_new = task in {Task.SEQUENCE_CLASSIFICATION, Task.IMAGE_CLASSIFICATION}
    bad = [key for key in absent if not may_be_new or re.search(r"\.\d+\.", key)]
    if bad:
        raise ModelError(
            f"{path} does not hold the weights of {type(model).__name__}: {len(bad)} tensors are missing "
            f"or of another shape, e.g. {bad[0]}; correct model.uri or model.task"
        )
    return _Base(model, tuple(sorted({key.rpartition(".")[0] for key in absent})))


def _with_lora(job: JobFile, base: _Base, path: Path) -> tuple[Any, Any]:
    from peft import LoraConfig, get_peft_model

    spec, task = job.adapter.lora, job.model.task
    whole = _trained_whole(base, task) or None
    targets = target_modules(base.model, spec.target_modules)
    lora = LoraConfig(
        task_type=_PEFT_TASK.get(task),
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
    except _THIRD_PARTY as error:
        raise ModelError(f"LoRA cannot be put on the model: {_first_line(error)}") from error
    lora.modules_to_save = whole  # without the names that peft adds on suspicion
    lora.base_model_name_or_path, lora.revision = _base_name(job.model, path), job.model.revision
    return model, lora


def _trained_whole(base: _Base, task: Task) -> list[str]:
    """The head and whatever else the files did not hold: they are trained and saved with the adapter."""
    if task in {Task.CAUSAL_LM, Task.MASKED_LM}:
        return []
    heads = [name for name, _ in base.model.named_children() if name in _HEADS]
    return heads + [name for name in base.new_modules if name.partition(".")[0] not in heads]


def _is_transposed(model: Any, targets: Sequence[str]) -> bool:
    adapted = (m for n, m in model.named_modules() if n.endswith(tuple(targets)) and is_linear(m))
    return all(not isinstance(module, torch.nn.Linear) for module in adapted)


def _base_name(spec: ModelSpec, path: Path) -> str:
    """What ``from_pretrained`` can find the base by, where it can."""
    scheme, _, rest = spec.uri.partition("://")
    return {"hf": rest, "file": str(path)}.get(scheme, spec.uri)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
