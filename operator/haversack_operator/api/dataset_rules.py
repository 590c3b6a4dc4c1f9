"""What the data set of a ``FineTuneJob`` must hold: its split over the peers, its prompts."""

from __future__ import annotations

from typing import Final

from haversack_operator.api.job import JobSpec
from haversack_operator.api.rule import Rule
from haversack_trainer.contract.prompt import ANSWER, TEXT
from haversack_trainer.contract.spec import DataFormat, PartitionType, Task, has_labels

_SPEAKERS: Final = (Task.CAUSAL_LM, Task.MASKED_LM)


def _has_labels(spec: JobSpec) -> bool:
    return has_labels(spec.model.task, spec.dataset)


def _one_size_per_peer(spec: JobSpec) -> bool:
    sizes = spec.dataset.partition.sizes
    return sizes is None or len(sizes) == sum(pool.peers.replicas for pool in spec.pools)


_PARTITION: Final = (
    Rule(
        "spec.dataset.partition",
        "!has(self.alpha) || (self.type == 'Dirichlet' && double(self.alpha) > 0.0)",
        lambda part: (
            part.alpha is None or (part.type is PartitionType.DIRICHLET and float(part.alpha) > 0)
        ),
        "alpha: goes with type Dirichlet and is above 0; remove it or change the type",
    ),
    Rule(
        "spec.dataset.partition",
        "!has(self.shardsPerPeer) || self.type == 'Shards'",
        lambda part: part.shards_per_peer is None or part.type is PartitionType.SHARDS,
        "shardsPerPeer: goes with type Shards; remove it or change the type",
    ),
    Rule(
        "spec.dataset.partition",
        "has(self.column) == (self.type == 'ByColumn')",
        lambda part: (part.column is not None) == (part.type is PartitionType.BY_COLUMN),
        "column: goes with type ByColumn, which needs it; add or remove it, or change the type",
    ),
    Rule(
        "spec.dataset.partition",
        "has(self.sizes) == (self.type == 'Sizes')",
        lambda part: (part.sizes is not None) == (part.type is PartitionType.SIZES),
        "sizes: goes with type Sizes, which needs it; add or remove it, or change the type",
    ),
    Rule(
        "spec",
        "!has(self.dataset.partition.sizes) || size(self.dataset.partition.sizes) "
        "== self.pools.map(p, p.peers.replicas).sum()",
        _one_size_per_peer,
        "dataset.partition.sizes: write one size per peer, as many as all pools' peers.replicas "
        "together",
    ),
    Rule(
        "spec",
        "!(self.dataset.partition.type in ['Dirichlet', 'Shards']) "
        "|| self.model.task.endsWith('Classification') || has(self.dataset.prompt)",
        lambda spec: (
            spec.dataset.partition.type not in (PartitionType.DIRICHLET, PartitionType.SHARDS)
            or _has_labels(spec)
        ),
        "dataset.partition.type: Dirichlet and Shards split by label, which only classification "
        "and a prompt have; use IID, ByColumn or Sizes",
    ),
    Rule(
        "spec",
        "self.dataset.format != 'Text' || (!self.model.task.endsWith('Classification') "
        "&& self.dataset.partition.type != 'ByColumn' && !has(self.dataset.prompt) "
        "&& !has(self.dataset.promptColumn))",
        lambda spec: (
            spec.dataset.format is not DataFormat.TEXT
            or not (
                _has_labels(spec)
                or spec.dataset.partition.type is PartitionType.BY_COLUMN
                or spec.dataset.prompt_column is not None
            )
        ),
        "dataset.format: Text has neither labels nor columns; use JSONL or CSV for "
        "classification, prompt, promptColumn and partition ByColumn",
    ),
)

_PROMPT: Final = (
    Rule(
        "spec",
        "!has(self.dataset.prompt) || self.model.task in ['CausalLM', 'MaskedLM']",
        lambda spec: spec.dataset.prompt is None or spec.model.task in _SPEAKERS,
        "dataset.prompt: goes with model.task CausalLM or MaskedLM; remove it or change the task",
    ),
    Rule(
        "spec.dataset.prompt",
        f"self.template.split('{TEXT}').size() == 2",
        lambda prompt: prompt.template.count(TEXT) == 1,
        f"template: must hold {TEXT} once, where the sample's text goes",
    ),
    Rule(
        "spec",
        f"!has(self.dataset.prompt) || self.dataset.prompt.template.split('{ANSWER}').size() "
        "== (self.model.task == 'MaskedLM' ? 2 : 1)",
        lambda spec: (
            spec.dataset.prompt is None
            or spec.dataset.prompt.template.count(ANSWER)
            == (1 if spec.model.task is Task.MASKED_LM else 0)
        ),
        f"dataset.prompt.template: {ANSWER} stands for the mask of MaskedLM, once; for CausalLM the "
        "answer follows the template; add or remove it",
    ),
    Rule(
        "spec.dataset",
        "has(self.promptColumn) == has(self.completionColumn)",
        lambda dataset: (dataset.prompt_column is None) == (dataset.completion_column is None),
        "promptColumn: goes with completionColumn; add the other or remove both",
    ),
    Rule(
        "spec",
        "!has(self.dataset.promptColumn) || (self.model.task == 'CausalLM' && !has(self.dataset.prompt))",
        lambda spec: (
            spec.dataset.prompt_column is None
            or (spec.model.task is Task.CAUSAL_LM and spec.dataset.prompt is None)
        ),
        "dataset.promptColumn: goes with model.task CausalLM, without dataset.prompt; remove it or "
        "change the task",
    ),
)

DATASET_RULES: Final[tuple[Rule, ...]] = _PARTITION + _PROMPT
