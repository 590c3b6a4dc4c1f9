"""pydantic models to Kubernetes' structural schemas.

Structural means: no references, no unions of types, every field typed. Absent and null are the
same in Kubernetes, so an optional field is simply not required.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_DROPPED: Final = frozenset({"title", "propertyNames", "$defs"})


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, with camelCase names, bounds, defaults, descriptions."""
    whole = model.model_json_schema(by_alias=True)
    return _convert(whole, whole.get("$defs", {}))


def at(schema: Schema, path: str) -> Schema:
    """The part of a schema at a path like ``spec.pools[].peers``."""
    for step in filter(None, path.split(".")):
        schema = schema["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            schema = schema["items"]
    return schema


def without_nulls(value: object) -> object:
    """Kubernetes drops a field that is null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    merged = dict(node)
    if "$ref" in merged:
        name = merged.pop("$ref").rpartition("/")[2]
        merged = {**definitions[name], **merged}
    if "anyOf" in merged:
        (only,) = (option for option in merged.pop("anyOf") if option.get("type") != "null")
        return _convert({**only, **merged}, definitions)
    schema = {key: value for key, value in merged.items() if key not in _DROPPED}
    if "properties" in schema:
        schema["properties"] = {
            name: _convert(value, definitions) for name, value in schema["properties"].items()
        }
    if "items" in schema:
        schema["items"] = _convert(schema["items"], definitions)
    return _with_default(_with_values(schema, definitions))


def _with_values(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """A map keeps the schema of its values; a model just lists its properties."""
    values = schema.pop("additionalProperties", None)
    if isinstance(values, Mapping):
        schema["additionalProperties"] = _convert(values, definitions)
    return schema


def _with_default(schema: Schema) -> Schema:
    """A default is whole, since the API server judges it by the rules before it fills it up."""
    default = without_nulls(schema.pop("default", None))
    return schema if default is None else {**schema, "default": default}
