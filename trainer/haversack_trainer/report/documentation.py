"""docs/events.md, made from the events themselves: ``python -m haversack_trainer.report.documentation``."""

from __future__ import annotations

import sys
from typing import Any, Final, get_args

from .events import EVENT, Event, Happening

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
    schema = EVENT.json_schema(by_alias=True, mode="serialization")
    return _HEAD + "".join(_section(kind, schema["$defs"]) for kind in _kinds())


def _kinds() -> tuple[type[Happening], ...]:
    kinds: tuple[type[Happening], ...] = get_args(get_args(Event)[0])
    return kinds


def _section(kind: type[Happening], definitions: dict[str, Any]) -> str:
    fields = definitions[kind.__name__]["properties"]
    rows = "".join(
        f"| `{name}` | {_type(field)} | {field['description']} |\n"
        for name, field in fields.items()
        if name != "kind"
    )
    return f"\n## {kind.__name__}\n\n{kind.__doc__}\n\n| field | type | meaning |\n|---|---|---|\n{rows}"


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object":
        return f"map to {_type(field['additionalProperties'])}"
    return str(field["type"])


if __name__ == "__main__":
    sys.stdout.write(events_page())
