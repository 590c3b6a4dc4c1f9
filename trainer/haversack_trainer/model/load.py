"""A folder in Hugging Face layout to a model that is ``FineTuned``, the same on every machine of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from haversack_trainer.contract.adapter import AdapterType
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.spec import CLASSIFICATION, Quantization, Task

from .adapted import AdaptedModel
from .base import Base, load_base
from .errors import THIRD_PARTY, ModelError, first_line
from .folder import AdapterFolder
from .full import FullModel
from .heads import task_head
from .held import Whole, as_it_is
from .lora import with_lora
from .model_folder import ModelFolder
from .nf4 import quantise
from .state import digest
from .tasks import TaskHead


def load_model(
    job: JobFile, path: Path, labels: Sequence[str], whole: Whole = as_it_is
) -> AdaptedModel | FullModel:
    """The model in ``path`` with what is trained on it, on CUDA if there is one. Raises ``ModelError``.

    ``labels`` names the classes (empty where there are none); ``whole`` reads a parameter where ``from_pretrained``
    was told to load the model in parts. Adapter and new head are drawn on the CPU
    from ``training.seed``, so that they are the same on every kind of machine.
    """
    names = labels if job.model.task in CLASSIFICATION else ()
    config = _config(job.model.task, path, names)
    head = task_head(job, path, config, labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if job.adapter.type is AdapterType.FULL:
        return _full(job, path, config, head, device)
    return _adapted(job, path, config, head, device, whole=whole, has_labels=bool(names))


def _full(job: JobFile, path: Path, config: Any, head: TaskHead, device: torch.device) -> FullModel:
    def fresh() -> Base:
        with _seeded(job):
            return load_base(job.model.task, path, config)

    folder = ModelFolder(path, partial(load_base, job.model.task, config=config), _notes(job))
    return FullModel(fresh, head, device, folder)


def _adapted(
    job: JobFile,
    path: Path,
    config: Any,
    head: TaskHead,
    device: torch.device,
    *,
    whole: Whole,
    has_labels: bool,
) -> AdaptedModel:
    with _seeded(job):
        base = load_base(job.model.task, path, config)
        original = None
        if job.model.quantization is Quantization.NF4:
            original = f"{digest(base.given())} NF4"
            quantise(base.model, base.trained_whole)
        model, lora = with_lora(job, base, path)
    folder = AdapterFolder(lora, has_labels=has_labels, notes=_notes(job))
    new = bool(base.new_modules)
    return AdaptedModel(
        model.to(device), head, device, folder, head_is_new=new, whole=whole, original=original
    )


def _notes(job: JobFile) -> dict[str, str]:
    """What somebody who uses the result must know beyond its weights."""
    prompt = job.dataset.prompt
    if prompt is None:
        return {}
    return {"prompt.json": json.dumps(prompt.model_dump(), indent=2, sort_keys=True) + "\n"}


@contextmanager
def _seeded(job: JobFile) -> Iterator[None]:
    """What is drawn inside is a function of the job's seed; the process's own numbers are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.training.seed)
        yield


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
    except THIRD_PARTY as error:
        raise ModelError(f"{path}/config.json cannot be used: {first_line(error)}") from error
    if task is Task.CAUSAL_LM:
        config.use_cache = False
    return config
