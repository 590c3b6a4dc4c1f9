"""The room's one exception, and pydantic's errors in words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_FAULTS: Final = 3
"""Faults named in one message; the others are counted."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class ConfigError(Exception):
    """The job or the environment is wrong; one sentence that names the field and what to change."""


def parse(model: type[AnyModel], values: Any, where: str = "") -> AnyModel:
    """``model.model_validate``; ``where`` is the path of ``values`` in the job file."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        named = "; ".join(_words(model, fault, where) for fault in faults[:MAX_FAULTS])
        more = f" (and {len(faults) - MAX_FAULTS} more)" if len(faults) > MAX_FAULTS else ""
        raise ConfigError(named + more) from error


def nearest(word: str, known: Sequence[str]) -> str:
    """``did you mean …?`` or the list of what there is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _words(model: type[BaseModel], fault: ErrorDetails, where: str) -> str:
    location = fault["loc"]
    path = ".".join(str(part) for part in (where, *location) if part != "") or "the job file"
    if fault["type"] == "missing":
        return f"{path} is missing; add it"
    if fault["type"] == "extra_forbidden":
        known = _fields(model, location[:-1])
        return f"{path} is not a known field; {nearest(str(location[-1]), known)}"
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{path}: {message}, not {fault['input']!r:.60}; correct it"


def _fields(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names, as they are written in a file, of the fields of the model at ``location``."""
    for part in location:
        inner = [
            kind
            for name, field in model.model_fields.items()
            if part in (name, field.alias)
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        model = inner[0] if inner else model
    return [field.alias or name for name, field in model.model_fields.items()]
