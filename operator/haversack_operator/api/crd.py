"""The two CustomResourceDefinitions, generated from the models, the rules and the methods."""

from __future__ import annotations

from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.api.admission import JOB_ADMISSION, PLAN_ADMISSION
from haversack_operator.api.job import JobSpec
from haversack_operator.api.plan import PlanSpec, PlanStatus
from haversack_operator.api.rules import METHOD_RULES, RULES
from haversack_operator.api.schema import Schema, at, structural
from haversack_operator.api.status import UNOBSERVED, JobStatus
from haversack_trainer.contract.base import Frozen, cel
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.choosing import AUTO, MEMBER, AutoSettings

_LIST_KEYS: Final = {
    names.JOB_KIND: {"spec.pools": "name", "status.conditions": "type", "status.pools": "name"},
    names.PLAN_KIND: {"spec.peers": "peer", "status.peers": "peer"},
}
_JOB_COLUMNS: Final = (
    ("Method", "string", ".spec.method.type", 0),
    ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", 0),
    ("Status", "string", ".status.conditions[?(@.type=='Ready')].reason", 0),
    ("Peers", "string", ".status.peersSummary", 0),
    ("Round", "integer", ".status.progress.round", 0),
    ("Loss", "string", ".status.progress.loss", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Gate", "string", ".status.conditions[?(@.type=='GatePassed')].reason", 1),
    ("Complete", "string", ".status.conditions[?(@.type=='Complete')].status", 1),
    ("Bytes", "integer", ".status.traffic.bytesSent", 1),
    ("Adapter", "string", ".status.adapter.uri", 1),
    ("Chosen", "string", ".status.method.type", 1),
)
_PLAN_COLUMNS: Final = (
    ("Revision", "integer", ".spec.revision", 0),
    ("Gap%", "string", ".spec.gapPercent", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def definitions() -> tuple[dict[str, Any], ...]:
    """Both CRDs."""
    return job_definition(), plan_definition()


def job_definition() -> dict[str, Any]:
    """``FineTuneJob``."""
    status = {**structural(JobStatus), "default": {"observedGeneration": UNOBSERVED}}
    schema = _object(
        "A LoRA fine-tuning run on peers of mixed kinds: one manifest in, one gated adapter out.",
        structural(JobSpec),
        status,
    )
    at(schema, "spec")["properties"]["method"] = method_schema()
    for rule in (*RULES, *METHOD_RULES):
        _add_rule(at(schema, rule.path), rule.validation())
    for path, validation in JOB_ADMISSION:
        _add_rule(at(schema, path), validation)
    return _definition(names.JOB_KIND, names.JOB_PLURAL, "ftj", schema, _JOB_COLUMNS)


def plan_definition() -> dict[str, Any]:
    """``FineTunePlan``."""
    schema = _object(
        "Where each peer of a FineTuneJob runs; written by the operator, one per revision.",
        structural(PlanSpec),
        structural(PlanStatus),
    )
    for path, validation in PLAN_ADMISSION:
        _add_rule(at(schema, path), validation)
    return _definition(names.PLAN_KIND, names.PLAN_PLURAL, "ftp", schema, _PLAN_COLUMNS)


def method_schema() -> Schema:
    """The union of all methods: ``type``, and a member per method that goes with its type only."""
    cards = METHODS.values()
    kinds = "; ".join(f"{card.type}: {card.summary}" for card in cards)
    kinds += (
        f"; {AUTO}: one of these, chosen before the first pod starts; see docs/methods/choosing.md."
    )
    field = JobSpec.model_fields["method"]
    schema: Schema = {
        "type": "object",
        "description": field.description,
        "properties": {
            "type": {
                "type": "string",
                "enum": [*(card.type for card in cards), AUTO],
                "description": kinds,
            }
        },
        "required": ["type"],
    }
    for card in cards:
        _add_member(schema, card.type, card.member, card.load_settings())
    _add_member(schema, AUTO, MEMBER, AutoSettings)
    return schema


def _add_member(schema: Schema, type_: str, member: str, settings: type[Frozen]) -> None:
    """It goes with its own type only."""
    schema["properties"][member] = structural(settings)
    rule = cel(
        f"self.type == '{type_}' || !has(self.{member})",
        f"{member}: goes with type {type_}; remove it or change the type",
    )
    _add_rule(schema, rule)


def _add_rule(schema: Schema, validation: dict[str, str]) -> None:
    schema.setdefault("x-kubernetes-validations", []).append(validation)


def _object(description: str, spec: Schema, status: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this schema."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


def _definition(
    kind: str,
    plural: str,
    short: str,
    schema: Schema,
    columns: tuple[tuple[str, str, str, int], ...],
) -> dict[str, Any]:
    for path, key in _LIST_KEYS[kind].items():
        at(schema, path).update(
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
        )
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, "priority": priority}
            for name, type_, path, priority in columns
        ],
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["haversack"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }
