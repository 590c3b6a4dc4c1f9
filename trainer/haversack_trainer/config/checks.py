"""What a job's fields ask of one another, beyond their types."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from haversack_trainer.contract.adapter import AdapterType
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.prompt import ANSWER, TEXT
from haversack_trainer.contract.spec import (
    DataFormat,
    PartitionSpec,
    PartitionType,
    Quantization,
    Task,
    has_labels,
)

from .errors import ConfigError

_OPTION_OF: Final = {
    "alpha": PartitionType.DIRICHLET,
    "shards_per_peer": PartitionType.SHARDS,
    "column": PartitionType.BY_COLUMN,
    "sizes": PartitionType.SIZES,
}
_ALIAS: Final = {"shards_per_peer": "shardsPerPeer"}


def check_job(job: JobFile) -> None:
    """Raises ``ConfigError`` with the first thing that cannot work."""
    for fault in (
        *_peers(job),
        *_training(job),
        *_prompt(job),
        *_completion(job),
        *_dataset(job),
        *_partition(job),
    ):
        raise ConfigError(fault)


def _peers(job: JobFile) -> Iterator[str]:
    if job.min_peers > job.num_peers:
        yield f"minPeers is {job.min_peers}, more than the {job.num_peers} of numPeers; lower it"


def _training(job: JobFile) -> Iterator[str]:
    training, lora = job.training, job.adapter.lora_or_default
    micro = training.micro_batch_size
    if micro is not None and micro > training.batch_size:
        yield (
            f"training.microBatchSize is {micro}, more than training.batchSize "
            f"{training.batch_size}; lower it"
        )
    if Decimal(lora.dropout) >= 1:
        yield f"adapter.lora.dropout is {lora.dropout}; it must be below 1"
    if job.adapter.lora is not None and job.adapter.type is not AdapterType.LORA:
        yield f"adapter.lora belongs to type LoRA, not {job.adapter.type}; remove it"
    if job.model.quantization is not Quantization.NONE and (
        job.adapter.type is not AdapterType.LORA
    ):
        yield f"model.quantization is for adapter.type LoRA, not {job.adapter.type}; remove it"
    sharding = job.method.settings.get("sharding", "None")
    if job.model.quantization is not Quantization.NONE and sharding != "None":
        yield f"model.quantization does not go with sharding {sharding}; remove it or write sharding None"
    card = METHODS.get(job.method.type)
    trains_all = job.adapter.type is AdapterType.FULL
    if trains_all and sharding != "None" and card is not None and not card.needs_backward:
        yield (
            f"adapter.type is Full, but sharding {sharding} shares frozen weights out for {card.type}; write "
            "type LoRA or sharding None"
        )
    if job.model.revision and not job.model.uri.startswith("hf://"):
        yield "model.revision is for hf:// addresses only; remove it"


def _prompt(job: JobFile) -> Iterator[str]:
    task, prompt = job.model.task, job.dataset.prompt
    if prompt is None:
        return
    if task not in {Task.CAUSAL_LM, Task.MASKED_LM}:
        yield f"dataset.prompt is for CausalLM and MaskedLM, not {task}; remove it or change the task"
    if prompt.template.count(TEXT) != 1:
        yield f"dataset.prompt.template must hold {TEXT} once, where the sample's text goes"
    if prompt.template.count(ANSWER) != (1 if task is Task.MASKED_LM else 0):
        yield (
            f"dataset.prompt.template holds {ANSWER} once for MaskedLM, where the mask goes, and not at all "
            "for CausalLM, whose answer follows; correct it"
        )


def _completion(job: JobFile) -> Iterator[str]:
    data = job.dataset
    if (data.prompt_column is None) != (data.completion_column is None):
        yield "dataset.promptColumn and dataset.completionColumn go together; add the other or remove both"
    elif data.prompt_column is not None and (
        data.prompt is not None or job.model.task is not Task.CAUSAL_LM
    ):
        yield "dataset.promptColumn is for CausalLM without dataset.prompt; remove it or change model.task"


def _dataset(job: JobFile) -> Iterator[str]:
    task, data = job.model.task, job.dataset
    if data.format is not DataFormat.TEXT:
        return
    if has_labels(task, data):
        yield f"dataset.format Text has no labels, which {task} needs; use JSONL or CSV"
    if data.prompt_column is not None:
        yield "dataset.promptColumn needs columns, dataset.format Text has none; use JSONL or CSV"
    if data.text_column != "text":
        yield f"dataset.textColumn is {data.text_column!r}, but Text has the one column 'text'"
    if data.partition.type is PartitionType.BY_COLUMN:
        yield "dataset.partition ByColumn needs columns, dataset.format Text has none; use JSONL or CSV"


def _partition(job: JobFile) -> Iterator[str]:
    spec = job.dataset.partition
    for option, owner in _OPTION_OF.items():
        if getattr(spec, option) is not None and spec.type is not owner:
            name = _ALIAS.get(option, option)
            yield f"dataset.partition.{name} belongs to type {owner}, not {spec.type}; remove it"
    if spec.type in {PartitionType.DIRICHLET, PartitionType.SHARDS} and not has_labels(
        job.model.task, job.dataset
    ):
        yield f"dataset.partition {spec.type} needs classes, {job.model.task} has none; use IID or Sizes"
    yield from _own_option(spec, job.num_peers)


def _own_option(spec: PartitionSpec, num_peers: int) -> Iterator[str]:
    if spec.alpha is not None and Decimal(spec.alpha) <= 0:
        yield "dataset.partition.alpha must be more than 0"
    if spec.type is PartitionType.BY_COLUMN and spec.column is None:
        yield "dataset.partition.column is missing: ByColumn needs the column's name; add it"
    if spec.type is PartitionType.SIZES and len(spec.sizes or ()) != num_peers:
        yield (
            f"dataset.partition.sizes has {len(spec.sizes or ())} entries for {num_peers} peers; "
            "give one for each"
        )
