"""A method's settings as a table for people, from the same class that the CRD is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from haversack_operator.api.schema import structural
from haversack_trainer.contract.choices import TABLE
from haversack_trainer.contract.choosing import WORDS, Row


def settings_table(member: str, settings: type[BaseModel]) -> str:
    """A Markdown table: name, type, default, bounds, meaning."""
    rows = list(_rows(structural(settings)["properties"]))
    head = [f"Fields of `spec.method.{member}`, all optional:", ""]
    return "\n".join([*head, "| field | type | default | meaning |", "|---|---|---|---|", *rows])


def choices_table() -> str:
    """A Markdown table of what ``method.type: Auto`` chooses, the first row that holds."""
    rows = [
        f"| {number} | {_conditions(row)} | `{row.method}`{_settings(row)} | {row.why} |"
        for number, row in enumerate(TABLE, 1)
    ]
    return "\n".join(["| | where | method | since |", "|---|---|---|---|", *rows])


def _conditions(row: Row) -> str:
    asked = (
        (kind for kind in WORDS if kind in kinds) for kinds in (row.links, row.memory, row.peers)
    )
    parts = [" or ".join(WORDS[kind] for kind in some) for some in asked]
    return ", and ".join(filter(None, parts)) or "otherwise"


def _settings(row: Row) -> str:
    return "".join(f", `{name}: {value}`" for name, value in row.settings.items())


def _rows(properties: Mapping[str, dict[str, Any]], within: str = "") -> Iterator[str]:
    for name, schema in properties.items():
        yield _row(f"{within}{name}", schema)
        yield from _rows(schema.get("properties", {}), f"{within}{name}.")


def _row(name: str, schema: dict[str, Any]) -> str:
    default = f"`{schema['default']}`" if "default" in schema else ""
    if isinstance(schema.get("default"), bool):
        default = default.lower()
    description = " ".join(schema["description"].split()).replace("|", "\\|")
    return f"| `{name}` | {_type(schema)} | {default} | {description} |"


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['type']}, {schema['minimum']} to {schema['maximum']}"
    return "decimal" if schema.get("pattern") else str(schema["type"])
