"""What every model of the contract shares: frozen, camelCase on the wire, no unknown field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel, to_snake


class Frozen(BaseModel):
    """A value. Unknown fields are refused, so that nothing is accepted that is not honoured."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        # A loss may be NaN; as JSON's null its reader would refuse the whole record.
        ser_json_inf_nan="strings",
    )


DECIMAL_PATTERN = r"^[0-9]{1,8}(\.[0-9]{1,10})?$"

Decimal = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=20)]
"""A decimal as a string: Kubernetes' conventions allow no float in a spec."""

NAME_LABEL_PATTERN = r"^[a-z0-9](-?[a-z0-9])*$"

Name = Annotated[str, Field(pattern=NAME_LABEL_PATTERN, max_length=20)]
"""A short DNS label; pod names are built from it, with ``--`` to tell the parts apart."""


UNSEEN: Final = r"\x00-\x20\x7f-\xa0"
"""Spaces and control characters, inside of ``[]``. Spelt out, since ``\\s`` is not the same in every
reader's regular expressions."""
VISIBLE: Final = f"[^{UNSEEN}]"

SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
OBJECT_NAME_PATTERN: Final = f"^{SUBDOMAIN}$"

ObjectName = Annotated[str, Field(pattern=OBJECT_NAME_PATTERN, min_length=1, max_length=253)]
"""Name of another object, a DNS subdomain."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a model must hold beyond types and bounds: for the API server, and for who has none."""

    cel: str
    holds: Callable[[Any], bool]
    message: str
    """Names the field and says what to change."""


def learns(field: str) -> Check:
    """The learning rate ``field``, by its name in manifests, is more than 0, if it is there."""
    name = to_snake(field)
    return Check(
        f"!has(self.{field}) || double(self.{field}) > 0.0",
        lambda settings: (value := getattr(settings, name)) is None or float(value) > 0,
        f"{field}: nothing is learned at 0; write more than 0",
    )


LEARNS: Final = learns("learningRate")


def is_share(field: str) -> Check:
    """The decimal ``field``, by its name in manifests, is more than 0 and at most 1, if it is there."""
    name = to_snake(field)
    return Check(
        f"!has(self.{field}) || (double(self.{field}) > 0.0 && double(self.{field}) <= 1.0)",
        lambda settings: (value := getattr(settings, name)) is None or 0 < float(value) <= 1,
        f"{field}: is a share; write more than 0 and at most 1",
    )


def cel(rule: str, message: str) -> dict[str, str]:
    """One ``x-kubernetes-validations`` entry."""
    return {"rule": rule, "message": message}
