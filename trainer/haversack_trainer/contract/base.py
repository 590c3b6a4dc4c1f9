"""What every model of the contract shares: frozen, camelCase on the wire, no unknown field."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


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


def cel(rule: str, message: str) -> dict[str, str]:
    """One ``x-kubernetes-validations`` entry."""
    return {"rule": rule, "message": message}
