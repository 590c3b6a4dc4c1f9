"""Every bound of a structural schema as a pair of values, one inside and one outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from haversack_operator.api.schema import Schema
from haversack_trainer.contract.base import DECIMAL_PATTERN
from haversack_trainer.methods.declora.settings import EDGE_PATTERN


@dataclass(frozen=True, slots=True)
class Bound:
    """``accepted`` and ``rejected`` are values of the field at ``path``."""

    path: str
    keyword: str
    accepted: Any
    rejected: Any

    def __str__(self) -> str:
        return f"{self.path}:{self.keyword}"

    @property
    def shown(self) -> str:
        """The path as messages have it."""
        return self.path.replace("[]", "[0]").replace("{}", ".key")


SAMPLES: Final[dict[str, Any]] = {
    "spec.pools[].tolerations[]": {"operator": "Exists"},
    "spec.dataset.prompt": {"template": "{text}", "verbalisers": {"yes": "y", "no": "n"}},
}
"""Objects that need more than the fields they require."""
QUANTITIES: Final = {"cpu": "1", "memory": "1Mi", "template": "{text}"}
"""By the field's name: only a rule knows what a quantity or a template may be."""


def bounds(schema: Schema, path: str) -> Iterator[Bound]:
    """The bounds of the schema at ``path`` and of all below it."""
    yield from _FINDERS.get(schema["type"], _no_bounds)(schema, path)


def a_text(schema: Schema, length: int) -> str | None:
    """A text of this length that matches the schema's pattern, if there can be one."""
    pattern = schema.get("pattern", "")
    if "://" in pattern:
        start = "pvc://" if "pvc" in pattern else "http://"
        return start + "a" * (length - len(start)) if length >= len(start) else None
    if pattern == DECIMAL_PATTERN:
        return "0." + "1" * (length - 2) if 2 < length <= 12 else None
    if pattern == EDGE_PATTERN:
        return "0-1" if length == 3 else None
    if "/" in pattern:
        return "/".join(("a" * max(1, length - 64), "a" * min(63, length - 2)))
    if schema.get("format") == "date-time":
        return None
    return "a" * length


def a_value(schema: Schema) -> Any:
    """Some value that the schema accepts."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "string":
        if schema.get("format") == "date-time":
            return "2026-09-01T08:00:00Z"
        texts = (a_text(schema, length) for length in (3, 8, 12))
        return next(text for text in texts if text and len(text) >= schema.get("minLength", 0))
    if schema["type"] == "object":
        return _an_object(schema)
    if schema["type"] == "array":
        return [a_value(schema["items"])]
    return {"integer": schema.get("minimum", 1), "boolean": True}[schema["type"]]


def _an_object(schema: Schema) -> dict[str, Any]:
    if "additionalProperties" in schema:
        value = a_value(schema["additionalProperties"])
        return {f"k{number}": value for number in range(schema.get("minProperties", 0))}
    properties = schema.get("properties", {})
    return {name: a_value(properties[name]) for name in schema.get("required", ())}


def _no_bounds(schema: Schema, path: str) -> Iterator[Bound]:
    assert schema["type"] == "boolean", path
    yield Bound(path, "type", True, "true")


def _integer(schema: Schema, path: str) -> Iterator[Bound]:
    yield Bound(path, "type", schema.get("minimum", 1), "1")
    if "minimum" in schema:
        yield Bound(path, "minimum", schema["minimum"], schema["minimum"] - 1)
    if "maximum" in schema:
        yield Bound(path, "maximum", schema["maximum"], schema["maximum"] + 1)


def _string(schema: Schema, path: str) -> Iterator[Bound]:
    quantity = QUANTITIES.get(path.rpartition(".")[2])
    good = quantity or a_value(schema)
    yield Bound(path, "type", good, 1)
    if "enum" in schema:
        yield Bound(path, "enum", good, "Nonsense")
        return
    if "pattern" in schema:
        yield Bound(path, "pattern", good, "no such thing!")
    if "format" in schema:
        yield Bound(path, "format", good, "yesterday")
    most = schema["maxLength"]
    longest = quantity.zfill(most) if quantity else a_text(schema, most)
    yield Bound(path, "maxLength", longest or good, (longest or "1" * most) + "a")
    shortest = schema.get("minLength", 0)
    if shortest:
        yield Bound(path, "minLength", a_text(schema, shortest) or good, "s3://ab"[: shortest - 1])


def _object(schema: Schema, path: str) -> Iterator[Bound]:
    whole = SAMPLES.get(path) or a_value(schema)
    if "additionalProperties" in schema:
        most = schema["maxProperties"]
        labels = {f"k{number}": "v" for number in range(most)}
        yield Bound(path, "maxProperties", labels, {**labels, "more": "v"})
        if "minProperties" in schema:
            fewest = a_value(schema)
            yield Bound(path, "minProperties", fewest, dict(list(fewest.items())[1:]))
        yield from bounds(schema["additionalProperties"], f"{path}{{}}")
        return
    yield Bound(path, "unknown", whole, {**whole, "nonsense": 1})
    for name in schema.get("required", ()):
        missing = {key: value for key, value in whole.items() if key != name}
        yield Bound(path, f"required {name}", whole, missing)
    for name, inner in schema["properties"].items():
        yield from bounds(inner, f"{path}.{name}")


def _array(schema: Schema, path: str) -> Iterator[Bound]:
    item = SAMPLES.get(f"{path}[]") or a_value(schema["items"])
    keys = schema.get("x-kubernetes-list-map-keys", ())

    def items(count: int) -> list[Any]:
        distinct = [{key: _nth(item[key], number) for key in keys} for number in range(count)]
        return [{**item, **key} if keys else item for key in distinct]

    yield Bound(path, "maxItems", items(schema["maxItems"]), items(schema["maxItems"] + 1))
    if "minItems" in schema:
        yield Bound(path, "minItems", items(schema["minItems"]), items(schema["minItems"] - 1))
    if keys:
        yield Bound(path, "keys", [item], [item, item])
    yield from bounds(schema["items"], f"{path}[]")


def _nth(value: int | str, number: int) -> int | str:
    return number if isinstance(value, int) else f"a{number}"


_FINDERS: Final = {
    "integer": _integer,
    "string": _string,
    "object": _object,
    "array": _array,
}
