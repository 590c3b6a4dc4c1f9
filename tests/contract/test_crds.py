"""The CRDs, the methods and the chart say the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from haversack_operator.api.crd import definitions, job_definition
from haversack_operator.api.schema import Schema, at
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.choosing import AUTO, MEMBER

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/haversack"
MAX_BYTES = 256 * 1024
"""What ``kubectl apply`` can keep in an annotation."""


def schema_keys(schema: dict[str, Any], path: str = "") -> set[str]:
    """Paths of all values that a values.schema.json names, Helm's own aside."""
    keys = set()
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        keys |= schema_keys(inner, here) if "properties" in inner else {here}
    return {key for key in keys if not key.endswith(".global")}


def value_keys(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
    """Paths of all values, as deep as the schema goes."""
    keys = set()
    for name, value in values.items():
        inner = schema["properties"][name]
        here = f"{path}.{name}"
        keys |= value_keys(value, inner, here) if "properties" in inner else {here}
    return keys


def test_every_value_of_the_chart_has_a_default_and_a_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert value_keys(values, schema) == schema_keys(schema)


def test_chart_and_package_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    crds = yaml.safe_load((CHART / "charts/crds/Chart.yaml").read_text())
    assert {chart["version"], chart["appVersion"], crds["version"]} == {project}
    assert [dependency["version"] for dependency in chart["dependencies"]] == [project]


def openapi(definition: dict[str, Any]) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def parts(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The schema and all below it."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")


def test_the_union_has_a_member_for_every_method_and_no_other() -> None:
    method = at(openapi(job_definition()), "spec.method")
    members = {card.member for card in METHODS.values()}
    assert set(method["properties"]["type"]["enum"]) == {*METHODS, AUTO}
    assert set(method["properties"]) == {"type", MEMBER, *members}


@pytest.mark.parametrize("definition", definitions(), ids=lambda d: d["metadata"]["name"])
def test_every_field_is_described_and_bounded(definition: dict[str, Any]) -> None:
    whole = openapi(definition)
    for root in ("spec", "status"):
        for path, schema in parts(at(whole, root), root):
            assert path.endswith("[]") or schema.get("description"), path
            if schema["type"] == "string":
                assert "enum" in schema or "maxLength" in schema, path
            if schema["type"] == "array":
                assert "maxItems" in schema, path
            if "additionalProperties" in schema:
                assert "maxProperties" in schema, path


@pytest.mark.parametrize("path", sorted((ROOT / "crds").glob("*.yaml")), ids=lambda p: p.name)
def test_the_chart_has_the_same_crds_and_keeps_them(path: Path) -> None:
    plain = yaml.safe_load(path.read_text())
    copies = ROOT / "charts/haversack/charts/crds/templates"
    kept = yaml.safe_load((copies / path.name).read_text())
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert kept == plain
    assert path.stat().st_size < MAX_BYTES
