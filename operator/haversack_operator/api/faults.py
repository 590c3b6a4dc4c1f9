"""pydantic's errors in our words: the field's path, what is wrong, what to change."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from haversack_operator.api.schema import Schema, structural
from haversack_trainer.contract.base import (
    DECIMAL_PATTERN,
    NAME_LABEL_PATTERN,
    OBJECT_NAME_PATTERN,
)

_SHOWN: Final = 40
_WORDS: Final[Mapping[str, str]] = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "enum": "must be {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a text; put it in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}

_LIKE: Final[Mapping[str, str]] = {
    DECIMAL_PATTERN: 'a decimal of 0 or more, like "0.05"',
    NAME_LABEL_PATTERN: "lower-case letters, digits and single '-', like gpu-1",
    OBJECT_NAME_PATTERN: "an object's name: lower-case letters, digits, '-' and '.', like s3-keys",
}
"""Patterns that people meet often, in words."""


class InvalidSpec(Exception):
    """A manifest that is refused. The message is one sentence for its author."""


def quote(value: object) -> str:
    """A value as it may be shown: quoted, on one line, short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def describe(refused: ValidationError, model: type[BaseModel], root: str) -> str:
    """The first error as a sentence, and how many more there are."""
    errors = refused.errors(include_url=False, include_context=True)
    sentence = _describe_one(errors[0], _schema(model), root)
    more = len(errors) - 1
    return f"{sentence} (and {more} more)" if more else sentence


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return structural(model)


def _describe_one(error: Mapping[str, Any], schema: Schema, root: str) -> str:
    steps = tuple(step for step in error["loc"] if step != "[key]")
    path = _path(root, steps)
    if error["type"] == "missing":
        return f"{path}: is missing; {_purpose(schema, steps)}"
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such field; {_suggestion(schema, steps)}"
    shown = "" if isinstance(error["input"], Mapping | list) else f", is {quote(error['input'])}"
    return f"{path}: {_demand(error)}{shown}"


def _demand(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if context.get("pattern") in _LIKE:
        return f"must be {_LIKE[context['pattern']]}"
    words = _WORDS.get(error["type"])
    return words.format(**context) if words else str(error["msg"])


def _path(root: str, steps: tuple[str | int, ...]) -> str:
    return root + "".join(f"[{s}]" if isinstance(s, int) else f".{s[:_SHOWN]}" for s in steps)


def _purpose(schema: Schema, steps: tuple[str | int, ...]) -> str:
    description = _walk(schema, steps).get("description")
    return f"it says: {description}" if description else "add it"


def _suggestion(schema: Schema, steps: tuple[str | int, ...]) -> str:
    known = list(_walk(schema, steps[:-1]).get("properties", {}))
    close = get_close_matches(str(steps[-1])[:_SHOWN], known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def _walk(schema: Schema, steps: tuple[str | int, ...]) -> Schema:
    for step in steps:
        inner = schema.get("items") if isinstance(step, int) else None
        schema = inner or schema.get("properties", {}).get(step, {})
    return schema
