"""docs/events.md, made from the events themselves: ``python -m haversack_trainer.report.documentation``."""

from __future__ import annotations

import sys
from typing import Any, Final, get_args

from .events import EVENT, Event

_HEAD: Final = """\
# Events

A run writes `events.jsonl`: one JSON object a line, appended as things happen, stored beside the
report. `kind` says what a line is. Readers skip lines that they cannot parse (the last one may be torn
after a crash) and kinds that they do not know. Times are Unix seconds by the writer's clock.

This page is made from `trainer/haversack_trainer/report/events.py` by
`python -m haversack_trainer.report.documentation`.
"""


def events_page() -> str:
    """The page as Markdown."""
    schema = EVENT.json_schema(by_alias=True, mode="serialization")["$defs"]
    kinds = [kind.__name__ for kind in get_args(get_args(Event)[0])]
    values = [name for name in schema if name not in kinds]
    events = "".join(_section(name, schema[name]) for name in kinds)
    inside = "".join(_section(name, schema[name]) for name in values)
    return f"{_HEAD}{events}\n# Values inside events\n{inside}"


def _section(name: str, definition: dict[str, Any]) -> str:
    rows = "".join(
        f"| `{member}` | {_type(field)} | {field.get('description', '–')} |\n"
        for member, field in definition["properties"].items()
        if member != "kind"
    )
    about = definition["description"].strip()
    return f"\n## {name}\n\n{about}\n\n| field | type | meaning |\n|---|---|---|\n{rows}"


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "prefixItems" in field:
        return f"[{', '.join(map(_type, field['prefixItems']))}]"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object":
        return f"map to {_type(field['additionalProperties'])}"
    return str(field["type"])


if __name__ == "__main__":
    sys.stdout.write(events_page())
