"""Manifests that the API server and ``parse_spec`` must judge alike.

``BASE`` is accepted. A case sets fields of it; paths are as in the rules (``pools[]`` is the first
pool).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from crd_bounds import SAMPLES, Bound, a_value, bounds
from method_contexts import METHOD_CONTEXTS
from pydantic import ValidationError

from haversack_operator.api.crd import job_definition
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.job import JobSpec
from haversack_operator.api.parse import broken_rules
from haversack_operator.api.rule import Rule
from haversack_operator.api.schema import Schema, at

BASE: Final[dict[str, Any]] = {
    "apiVersion": "haversack.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "base", "namespace": "default"},
    "spec": {
        "model": {"uri": "hf://owner/name", "task": "SequenceClassification"},
        "dataset": {"uri": "s3://corpus/support"},
        "adapter": {},
        "method": {"type": "DecLoRA"},
        "training": {},
        "pools": [{"name": "cpu", "peers": {"replicas": 2}}],
        "storage": {"uri": "s3://bucket/runs"},
    },
}
Edits = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """The same object accepted and, with another value somewhere, rejected."""

    name: str
    accepted: Edits
    rejected: Edits
    says: str
    """Part of the message: a rule's words, or the path of a bound's field."""

    def __str__(self) -> str:
        return self.name

    def broken(self) -> list[Rule]:
        """Our rules that the rejected object breaks; none where it has a method that is none."""
        text = json.dumps(edited(self.rejected)["spec"])
        try:
            spec = JobSpec.model_validate_json(text, strict=True)
            return [rule for _, rule in broken_rules(spec)]
        except (ValidationError, InvalidSpec):
            return []


@cache
def job_schema() -> Schema:
    schema: Schema = job_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def put(whole: dict[str, Any], schema: Schema, path: str, value: Any) -> None:
    """Set the field at a path; objects on the way are made with what they require."""
    steps = path.replace("[]", ".[]").replace("{}", ".{}").split(".")
    target: Any = whole
    for depth, step in enumerate(steps, 1):
        key = {"[]": 0, "{}": "key"}.get(step, step)
        if depth == len(steps):
            target[key] = value
            return
        if isinstance(key, str) and key not in target:
            here = ".".join(steps[:depth]).replace(".[]", "[]")
            target[key] = (
                [SAMPLES[f"{here}[]"].copy()]
                if f"{here}[]" in SAMPLES
                else copy.deepcopy(SAMPLES.get(here)) or a_value(at(schema, here))
            )
        target = target[key]


def edited(edits: Edits) -> dict[str, Any]:
    """``BASE`` with these fields set."""
    whole = copy.deepcopy(BASE)
    schema = job_schema()
    for path, value in edits.items():
        put(whole, schema, path, value)
    return whole


def pools(*counts: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {"name": f"p{number}", "peers": {"replicas": replicas, "min": least}}
        for number, (replicas, least) in enumerate(counts)
    ]


_PART: Final = "spec.dataset.partition"
_HELD_OUT: Final = "spec.dataset.heldOut"
_TOLERATION: Final = "spec.pools[].tolerations[]"
_NAME: Final = "metadata.name"
_SPEAKER: Final = {"spec.model.task": "CausalLM"}
_FOOTPRINT: Final = {"parameters": 10**9, "hiddenSize": 2048, "numLayers": 16}
_TWO_POOLS: Final = {"spec.pools": pools((0, 0), (1, 0))}

_CONTEXTS: Final[dict[str, Edits]] = {
    "spec.dataset.prompt": _SPEAKER,
    "spec.dataset.promptColumn": {**_SPEAKER, "spec.dataset.completionColumn": "answer"},
    "spec.dataset.completionColumn": {**_SPEAKER, "spec.dataset.promptColumn": "question"},
    f"{_PART}.alpha": {f"{_PART}.type": "Dirichlet"},
    f"{_PART}.shardsPerPeer": {f"{_PART}.type": "Shards"},
    f"{_PART}.column": {f"{_PART}.type": "ByColumn"},
    f"{_PART}.sizes": {f"{_PART}.type": "Sizes", "spec.pools[].peers.replicas": 256},
    f"{_PART}.sizes[]": {
        f"{_PART}.type": "Sizes",
        f"{_PART}.sizes": [1],
        "spec.pools[].peers.replicas": 1,
    },
    "spec.training.microBatchSize": {"spec.training.batchSize": 65_536},
    "spec.placement.minPeers": {"spec.pools[].peers.replicas": 256},
    "spec.pools[].peers.min": {
        "spec.pools[].peers.replicas": 256,
        "spec.placement.minPeers": 256,
    },
    "spec.pools[].processes": {
        "spec.method.type": "FlexDeMo",
        "spec.method.flexDeMo.sharding": "ZeRO1",
    },
    "spec.pools[].peers.replicas:type": _TWO_POOLS,
    "spec.pools[].peers.replicas:minimum": _TWO_POOLS,
    f"{_TOLERATION}.tolerationSeconds": {f"{_TOLERATION}.effect": "NoExecute"},
    f"{_TOLERATION}.value": {f"{_TOLERATION}": {"key": "edge"}},
    **METHOD_CONTEXTS,
}
"""What else must be set for a bound to be the only thing that a value breaks."""


def _context(bound: Bound) -> Edits:
    """That of the bound itself, or else of the nearest part above it."""
    path = str(bound)
    while path and path not in _CONTEXTS:
        path = path[: max(path.rfind("."), path.rfind(":"), path.rfind("["))] if path else ""
    return _CONTEXTS.get(path, {})


def bound_cases() -> list[Case]:
    """One case for every bound below ``spec``."""
    return [
        Case(
            str(bound),
            {**_context(bound), bound.path: bound.accepted},
            {**_context(bound), bound.path: bound.rejected},
            bound.shown,
        )
        for bound in bounds(at(job_schema(), "spec"), "spec")
    ]


RULE_CASES: Final = (
    Case(
        "a language model's footprint has its vocabulary",
        {**_SPEAKER, "spec.model.footprint": {**_FOOTPRINT, "vocabularySize": 32_000}},
        {**_SPEAKER, "spec.model.footprint": _FOOTPRINT},
        "footprint.vocabularySize: a language model's logits",
    ),
    Case(
        "the held-out data are the training data",
        {f"{_HELD_OUT}.uri": "s3://corpus/held-out"},
        {f"{_HELD_OUT}.uri": BASE["spec"]["dataset"]["uri"]},
        "heldOut.uri: is the training data itself",
    ),
    Case(
        "a share of a data set of its own",
        {f"{_HELD_OUT}.percent": 30},
        {_HELD_OUT: {"percent": 30, "uri": "s3://corpus/held-out"}},
        "percent: no share is taken",
    ),
    Case("name of 40", {_NAME: "a" * 40}, {_NAME: "a" * 41}, "metadata.name"),
    Case("name is a label", {_NAME: "a-1"}, {_NAME: "1.a"}, "metadata.name"),
    Case("name without --", {_NAME: "a-b-c"}, {_NAME: "a--b"}, "metadata.name"),
    Case(
        "alpha without Dirichlet",
        {f"{_PART}.type": "Dirichlet", f"{_PART}.alpha": "0.3"},
        {f"{_PART}.type": "IID", f"{_PART}.alpha": "0.3"},
        "alpha: goes with",
    ),
    Case(
        "alpha of zero",
        {f"{_PART}.type": "Dirichlet", f"{_PART}.alpha": "0.0000001"},
        {f"{_PART}.type": "Dirichlet", f"{_PART}.alpha": "0.0"},
        "above 0",
    ),
    Case(
        "shardsPerPeer without Shards",
        {f"{_PART}.type": "Shards", f"{_PART}.shardsPerPeer": 3},
        {f"{_PART}.shardsPerPeer": 3},
        "shardsPerPeer: goes with",
    ),
    Case(
        "ByColumn without column",
        {f"{_PART}.type": "ByColumn", f"{_PART}.column": "site"},
        {f"{_PART}.type": "ByColumn"},
        "column: goes with",
    ),
    Case("column without ByColumn", {}, {f"{_PART}.column": "site"}, "column: goes with"),
    Case(
        "Sizes without sizes",
        {f"{_PART}.type": "Sizes", f"{_PART}.sizes": [1, 3]},
        {f"{_PART}.type": "Sizes"},
        "sizes: goes with",
    ),
    Case("sizes without Sizes", {}, {f"{_PART}.sizes": [1, 3]}, "sizes: goes with"),
    Case(
        "one size per peer",
        {f"{_PART}.type": "Sizes", f"{_PART}.sizes": [1, 3]},
        {f"{_PART}.type": "Sizes", f"{_PART}.sizes": [1, 3, 1]},
        "one size per peer",
    ),
    Case(
        "Dirichlet without labels",
        {f"{_PART}.type": "Dirichlet", "spec.model.task": "ImageClassification"},
        {f"{_PART}.type": "Dirichlet", "spec.model.task": "CausalLM"},
        "split by label",
    ),
    Case(
        "Text has no labels",
        {"spec.dataset.format": "Text", "spec.model.task": "CausalLM"},
        {"spec.dataset.format": "Text"},
        "dataset.format: Text",
    ),
    Case(
        "Text has no columns",
        {"spec.dataset.format": "JSONL", f"{_PART}.type": "ByColumn", f"{_PART}.column": "c"},
        {
            "spec.dataset.format": "Text",
            "spec.model.task": "MaskedLM",
            f"{_PART}.type": "ByColumn",
            f"{_PART}.column": "c",
        },
        "dataset.format: Text",
    ),
    Case(
        "LoRA's settings with all weights",
        {"spec.adapter": {"type": "Full"}},
        {"spec.adapter": {"type": "Full", "lora": {}}},
        "lora: goes with type LoRA",
    ),
    Case(
        "four bits are for frozen models",
        {"spec.model.quantization": "NF4"},
        {"spec.model.quantization": "NF4", "spec.adapter.type": "Full"},
        "model.quantization: goes with adapter.type LoRA",
    ),
    Case(
        "dropout below 1",
        {"spec.adapter.lora.dropout": "0.999"},
        {"spec.adapter.lora.dropout": "1.0"},
        "dropout: must be below 1",
    ),
    Case(
        "micro-batch above batch",
        {"spec.training": {"batchSize": 8, "microBatchSize": 8}},
        {"spec.training": {"batchSize": 8, "microBatchSize": 9}},
        "microBatchSize: may not exceed",
    ),
)
