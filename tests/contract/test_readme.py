"""What the README shows works: its manifest, its commands, its links."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from bench import measured

from haversack_operator.api.parse import parse_spec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_manifest_parses() -> None:
    manifests = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert [parse_spec(yaml.safe_load(text)).model.uri for text in manifests] == [
        "s3://models/minilm"
    ]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m bench (\w+)", README))))
def test_a_figure_has_its_command_and_result(name: str) -> None:
    assert (ROOT / "bench" / f"{name}.py").exists()
    results = sorted((ROOT / "bench/results").glob(f"{name}*.json"))
    assert results
    assert all(json.loads(result.read_text())["figures"] for result in results)


@pytest.mark.parametrize("page", measured.PAGES)
def test_the_figures_are_those_of_the_result_files(page: str) -> None:
    text = (ROOT / page).read_text()
    assert measured.BEGIN in text
    rows = measured.PAGES[page]()
    assert measured.within(text, rows) == text, "run: .venv/bin/python -m bench.measured"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
