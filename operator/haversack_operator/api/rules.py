"""What a ``FineTuneJob`` must hold beyond types and bounds, each rule in both languages.

``cel`` goes into the CRD, where the API server judges an object at admission. ``holds`` says the
same of a parsed spec, for ``haversack run`` and ``plan``, which have no API server. One table of
accepted and rejected objects is run against both (tests/cluster/test_crd_rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic.alias_generators import to_snake

from haversack_operator.api.dataset_rules import DATASET_RULES
from haversack_operator.api.job import LABEL_KEY_PATTERN, MAX_PEERS, JobSpec
from haversack_operator.api.process_rules import PROCESS_RULES
from haversack_operator.api.ranges import CPU, MEMORY
from haversack_operator.api.rule import Rule
from haversack_trainer.contract.adapter import AdapterType
from haversack_trainer.contract.base import SUBDOMAIN, VISIBLE
from haversack_trainer.contract.cards import METHODS, MethodCard
from haversack_trainer.contract.choosing import MEMBER, AutoSettings
from haversack_trainer.contract.spec import Quantization, Task

_ADDRESS: Final = (
    r"(s3://[a-z0-9][-a-z0-9.]+|hf://[A-Za-z0-9][-A-Za-z0-9_.]*"
    rf"|pvc://{SUBDOMAIN}|file://)(/{VISIBLE}*)?"
)
_CLIMBS: Final = r"/\.\.(/|$)"


def _is_address(uri: str) -> bool:
    good = re.fullmatch(_ADDRESS, uri, re.ASCII) and uri != "file://"
    return bool(good) and not re.search(_CLIMBS, uri)


def _address(path: str, *, optional: bool = False) -> Rule:
    good = (
        f"self.uri.matches(r'^{_ADDRESS}$') && self.uri != 'file://' "
        f"&& !self.uri.matches(r'{_CLIMBS}')"
    )
    return Rule(
        path,
        f"!has(self.uri) || ({good})" if optional else good,
        lambda place: place.uri is None or _is_address(place.uri),
        "uri: write s3://bucket/prefix, hf://owner/name, pvc://claim/path or "
        "file:///absolute/path, without '..'",
    )


def _replicas(spec: JobSpec) -> int:
    return sum(pool.peers.replicas for pool in spec.pools)


def _at_least_minimum(spec: JobSpec) -> bool:
    return sum(pool.peers.min for pool in spec.pools) <= spec.placement.min_peers


def _deterministic(card: MethodCard) -> Rule:
    return Rule(
        "spec",
        "!has(self.adapter.lora) || double(self.adapter.lora.dropout) == 0.0 "
        f"|| '{card.type}' != self.method.type",
        lambda spec: (
            float(spec.adapter.lora_or_default.dropout) == 0 or card.type != spec.method.get("type")
        ),
        f'adapter.lora.dropout: {card.type} needs a deterministic forward pass; write "0"',
    )


def _relayed(card: MethodCard) -> Rule:
    return Rule(
        "spec",
        f"self.network.bulk != 'Direct' || '{card.type}' != self.method.type",
        lambda spec: not spec.network.is_direct or card.type != spec.method.get("type"),
        f"network.bulk: {card.type} sends nothing beside the log that could go from pod to pod; write Relay",
    )


def _pieces(spec: JobSpec, card: MethodCard, name: str, default: int) -> int:
    # Asked before the method's own settings are checked.
    settings = spec.method.get(card.member)
    given = settings.get(name) if isinstance(settings, Mapping) else None
    return given if isinstance(given, int) else default


def _has_whole_pieces(card: MethodCard, name: str) -> Rule:
    default = card.load_settings().model_fields[to_snake(name)].default
    member = f"self.method.{card.member}"
    return Rule(
        "spec",
        f"'{card.type}' != self.method.type "
        f"|| (has({member}) ? {member}.{name} : {default}) <= self.training.batchSize",
        lambda spec: (
            card.type != spec.method.get("type")
            or _pieces(spec, card, name, default) <= spec.training.batch_size
        ),
        f"method.{card.member}.{name}: a step's batch has fewer samples; lower it or raise training.batchSize",
    )


_ADDRESSES: Final = (
    _address("spec.model"),
    _address("spec.dataset"),
    _address("spec.dataset.heldOut", optional=True),
    _address("spec.storage"),
    Rule(
        "spec.storage",
        "!has(self.s3.endpoint) || !self.s3.endpoint.contains('@')",
        lambda storage: "@" not in (storage.s3.endpoint or ""),
        "s3.endpoint: everybody may read it, so no credentials; put them into the Secret of secretRef "
        "and remove all up to '@'",
    ),
    Rule(
        "spec.dataset.heldOut",
        "!has(self.percent) || !has(self.uri)",
        lambda held_out: held_out.percent is None or held_out.uri is None,
        "percent: no share is taken where uri names a data set of its own; remove one of the two",
    ),
    Rule(
        "spec.dataset",
        "!has(self.heldOut.uri) || self.heldOut.uri != self.uri",
        lambda dataset: dataset.held_out.uri != dataset.uri,
        "heldOut.uri: is the training data itself; name another data set, or write percent instead",
    ),
)

_MODEL: Final = (
    Rule(
        "spec.model",
        "!has(self.revision) || self.uri.startsWith('hf://')",
        lambda model: model.revision is None or model.uri.startswith("hf://"),
        "revision: only hf:// has revisions; remove it or use an hf:// uri",
    ),
    Rule(
        "spec.model",
        "!has(self.footprint) || self.task.endsWith('Classification') "
        "|| has(self.footprint.vocabularySize)",
        lambda model: (
            model.footprint is None
            or model.task not in (Task.CAUSAL_LM, Task.MASKED_LM)
            or model.footprint.vocabulary_size is not None
        ),
        "footprint.vocabularySize: a language model's logits take memory by it; write vocab_size "
        "of the model's config.json",
    ),
)

_TRAINING: Final = (
    Rule(
        "spec.adapter",
        "!has(self.lora) || self.type == 'LoRA'",
        lambda adapter: adapter.lora is None or adapter.type is AdapterType.LORA,
        "lora: goes with type LoRA; remove it or change the type",
    ),
    Rule(
        "spec",
        "self.model.quantization == 'None' || self.adapter.type == 'LoRA'",
        lambda spec: (
            spec.model.quantization is Quantization.NONE or spec.adapter.type is AdapterType.LORA
        ),
        "model.quantization: goes with adapter.type LoRA, which leaves the model frozen; remove it or "
        "change the type",
    ),
    Rule(
        "spec.adapter.lora",
        "double(self.dropout) < 1.0",
        lambda lora: float(lora.dropout) < 1,
        "dropout: must be below 1",
    ),
    Rule(
        "spec.training",
        "!has(self.microBatchSize) || self.microBatchSize <= self.batchSize",
        lambda training: (training.micro_batch_size or 1) <= training.batch_size,
        "microBatchSize: may not exceed batchSize; lower it or raise batchSize",
    ),
    *(_deterministic(card) for card in METHODS.values() if card.forbids_dropout),
    *(_relayed(card) for card in METHODS.values() if not card.sends_blobs),
    *(_has_whole_pieces(card, card.pieces) for card in METHODS.values() if card.pieces),
)

_POOLS: Final = (
    Rule(
        "spec.pools[].peers",
        "self.min <= self.replicas",
        lambda peers: peers.min <= peers.replicas,
        "min: may not exceed replicas; lower min or raise replicas",
    ),
    Rule(
        "spec",
        f"self.pools.map(p, p.peers.replicas).sum() <= {MAX_PEERS}",
        lambda spec: _replicas(spec) <= MAX_PEERS,
        f"pools: a job has at most {MAX_PEERS} peers; lower the pools' peers.replicas",
    ),
    Rule(
        "spec",
        "self.pools.map(p, p.peers.min).sum() <= self.placement.minPeers",
        _at_least_minimum,
        "placement.minPeers: may not be below the sum of the pools' peers.min; raise it",
    ),
    Rule(
        "spec",
        "self.placement.minPeers <= self.pools.map(p, p.peers.replicas).sum()",
        lambda spec: spec.placement.min_peers <= _replicas(spec),
        "placement.minPeers: may not exceed the sum of the pools' peers.replicas; lower it or "
        "raise replicas",
    ),
    Rule(
        "spec.pools[].resources",
        CPU.cel("self.cpu"),
        lambda asked: CPU.holds(asked.cpu),
        f"cpu: {CPU.words}",
    ),
    Rule(
        "spec.pools[].resources",
        MEMORY.cel("self.memory"),
        lambda asked: MEMORY.holds(asked.memory),
        f"memory: {MEMORY.words}",
    ),
    Rule(
        "spec.pools[].accelerator",
        f"!has(self.memory) || ({MEMORY.cel('self.memory')})",
        lambda device: device.memory is None or MEMORY.holds(device.memory),
        f"memory: {MEMORY.words}; omit it where any device will do",
    ),
    Rule(
        "spec.pools[]",
        f"!has(self.nodeSelector) || self.nodeSelector.all(key, key.matches(r'{LABEL_KEY_PATTERN}'))",
        lambda pool: all(re.fullmatch(LABEL_KEY_PATTERN, key) for key in pool.node_selector),
        "nodeSelector: a key is a label's name with an optional prefix, like example.com/pool",
    ),
    Rule(
        "spec.pools[].tolerations[]",
        "self.operator == 'Exists' ? !has(self.value) : has(self.key)",
        lambda toleration: (
            toleration.value is None
            if toleration.operator == "Exists"
            else toleration.key is not None
        ),
        "operator: Exists takes no value, Equal needs a key; remove the value or add the key",
    ),
    Rule(
        "spec.pools[].tolerations[]",
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        lambda toleration: (
            toleration.toleration_seconds is None or toleration.effect == "NoExecute"
        ),
        "tolerationSeconds: goes with effect NoExecute; remove it or change the effect",
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    _ADDRESSES + _MODEL + DATASET_RULES + _TRAINING + _POOLS + PROCESS_RULES
)

METHOD_RULES: Final = tuple(
    Rule(f"spec.method.{member}", check.cel, check.holds, check.message)
    for member, checks in (
        *((card.member, card.load_settings().checks) for card in METHODS.values()),
        (MEMBER, AutoSettings.checks),
    )
    for check in checks
)
"""Of the methods' own settings."""
