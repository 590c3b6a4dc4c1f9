"""A method's settings as a table for people, from the same class that the CRD is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from haversack_operator.api.schema import structural
from haversack_trainer.contract.cards import MethodCard


def settings_table(card: MethodCard) -> str:
    """A Markdown table: name, type, default, bounds, meaning."""
    properties = structural(card.load_settings())["properties"]
    rows = list(_rows(properties))
    head = [f"Fields of `spec.method.{card.member}`, all optional:", ""]
    return "\n".join([*head, "| field | type | default | meaning |", "|---|---|---|---|", *rows])


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
