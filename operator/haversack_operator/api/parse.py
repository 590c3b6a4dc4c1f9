"""A manifest to a ``JobSpec``, or one sentence that names the field and says what to change.

Accepts what the API server accepts with the CRD, so that a manifest means the same offline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_snake

from haversack_operator.api import names
from haversack_operator.api.faults import InvalidSpec, describe, quote
from haversack_operator.api.job import MAX_NAME_LENGTH, NAME_PATTERN, NAME_WORDS, JobSpec
from haversack_operator.api.processes import num_processes
from haversack_operator.api.rule import Rule
from haversack_operator.api.rules import METHOD_RULES, RULES
from haversack_operator.api.schema import without_nulls
from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.cards import METHODS, MethodSettings
from haversack_trainer.contract.choosing import AUTO, MEMBER, AutoSettings
from haversack_trainer.contract.jobfile import MethodChoice

_Model = TypeVar("_Model", bound=BaseModel)


def parse_spec(body: Mapping[str, Any]) -> JobSpec:
    """The spec of a whole ``FineTuneJob`` object. Raises ``InvalidSpec``."""
    _check_envelope(body)
    spec = _validate(JobSpec, body["spec"], "spec")
    _check_pool_names(spec)
    for path, rule in broken_rules(spec):
        raise InvalidSpec(f"{path}.{rule.message}")
    if spec.method["type"] != AUTO:
        member, settings = settings_of(spec)
        num_peers = sum(pool.peers.replicas for pool in spec.pools)
        fault = settings.fault(num_peers) or settings.fault_of_few(spec.placement.min_peers)
        for pool in spec.pools:
            fault = fault or settings.fault_of_processes(num_processes(spec, pool))
        if spec.dataset.held_out.personal_percent is not None:
            fault = fault or settings.fault_of_scores()
        if fault is not None:
            raise InvalidSpec(f"spec.method.{member}.{fault}")
    return spec


def broken_rules(spec: JobSpec) -> Iterator[tuple[str, Rule]]:
    """Each rule that does not hold, and where. Raises ``InvalidSpec`` for a method that is none."""
    for rule in RULES:
        for path, part in _parts(spec, rule.path):
            if not rule.holds(part):
                yield path, rule
    member, settings = _method(spec)
    path = f"spec.method.{member}"
    for rule in METHOD_RULES:
        if rule.path == path and not rule.holds(settings):
            yield path, rule


def settings_of(spec: JobSpec) -> tuple[str, MethodSettings]:
    """The member's name and the settings of the method that a job names. Raises ``InvalidSpec``."""
    member, settings = _method(spec)
    if not isinstance(settings, MethodSettings):
        raise InvalidSpec("spec.method.type: is to be chosen yet")
    return member, settings


def method_choice(spec: JobSpec, reason: str = "") -> MethodChoice:
    """The method of a job with all its settings, defaults filled in. Raises ``InvalidSpec``."""
    _, settings = settings_of(spec)
    values = settings.model_dump(mode="json", by_alias=True)
    return MethodChoice(type=spec.method["type"], settings=values, reason=reason)


def _method(spec: JobSpec) -> tuple[str, Frozen]:
    """The member's name, and what it holds."""
    chosen = dict(spec.method)
    type_ = chosen.pop("type", None)
    members = {**{card.type: card.member for card in METHODS.values()}, AUTO: MEMBER}
    member = members.get(type_) if isinstance(type_, str) else None
    if member is None:
        known = " or ".join(members)
        wrong = "is missing" if type_ is None else f"there is no method {quote(type_)}"
        raise InvalidSpec(f"spec.method.type: {wrong}; write {known}")
    settings = chosen.pop(member, None)
    if chosen:
        extra = min(chosen)
        remedy = "remove it, or change the type"
        if extra.lower() == member.lower():
            remedy = f"write {member}"
        raise InvalidSpec(f"spec.method: {quote(extra)} does not go with type {type_}; {remedy}")
    model = AutoSettings if type_ == AUTO else METHODS[str(type_)].load_settings()
    return member, _validate(model, {} if settings is None else settings, f"spec.method.{member}")


def _check_envelope(body: object) -> None:
    if not isinstance(body, Mapping):
        raise InvalidSpec(f"the manifest is not an object; write kind: {names.JOB_KIND} and so on")
    for field, wanted in (("apiVersion", names.API_VERSION), ("kind", names.JOB_KIND)):
        if body.get(field) != wanted:
            raise InvalidSpec(f"{field}: must be {wanted}, is {quote(body.get(field))}")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    good = isinstance(name, str) and re.fullmatch(NAME_PATTERN, name, re.ASCII)
    if not good or len(str(name)) > MAX_NAME_LENGTH:
        raise InvalidSpec(
            f"metadata.name: names of pods and of a Service are built from it; write at most "
            f"{MAX_NAME_LENGTH} {NAME_WORDS}, instead of "
            f"{quote(name)}"
        )
    if not isinstance(body.get("spec"), Mapping):
        raise InvalidSpec("spec: is missing; write at least model, dataset, method, pools, storage")


def _validate(model: type[_Model], value: object, path: str) -> _Model:
    """Strict, as the API server is: no number in quotes, no 1 for true."""
    try:
        text = json.dumps(without_nulls(value))
        return model.model_validate_json(text, strict=True)
    except ValidationError as refused:
        raise InvalidSpec(describe(refused, model, path)) from None
    except RecursionError:
        raise InvalidSpec(f"{path}: is nested too deeply") from None
    except TypeError as unknown:
        raise InvalidSpec(f"{path}: {unknown}; put the value in quotes") from None


def _check_pool_names(spec: JobSpec) -> None:
    """The CRD says so by making the list a map by name."""
    seen: set[str] = set()
    for index, pool in enumerate(spec.pools):
        if pool.name in seen:
            raise InvalidSpec(
                f"spec.pools[{index}].name: there is another pool {quote(pool.name)}; rename one"
            )
        seen.add(pool.name)


def _parts(spec: JobSpec, path: str) -> Iterator[tuple[str, Any]]:
    """Each object at a rule's path that is there, with its own path."""
    found: list[tuple[str, Any]] = [("spec", spec)]
    for step in path.split(".")[1:]:
        field = step.removesuffix("[]")
        values = [(f"{where}.{field}", getattr(part, to_snake(field))) for where, part in found]
        if step.endswith("[]"):
            values = [
                (f"{where}[{index}]", item)
                for where, items in values
                for index, item in enumerate(items)
            ]
        found = [(where, value) for where, value in values if value is not None]
    yield from found
