"""Placement trusts the cards' memory models: none may expect less than what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.step_memory import case_of, expected_mib

RESULTS = Path(__file__).parents[2] / "bench/results"
FIELDS = ("model", "method", "max_length", "micro_batch", "adapter")


def measured() -> list[dict[str, Any]]:
    files = sorted(RESULTS.glob("step_memory*.json"))
    return [row for file in files for row in json.loads(file.read_text())["figures"]["steps"]]


def test_both_kinds_of_device_were_measured() -> None:
    assert {row["device"] for row in measured()} == {"cpu", "cuda"}


@pytest.mark.parametrize(
    "row",
    measured(),
    ids=lambda row: "-".join(str(row.get(name, "LoRA")) for name in ("device", *FIELDS)),
)
def test_no_step_needed_more_than_its_card_says(row: dict[str, Any]) -> None:
    case = case_of(row)
    assert row["peak_mib"] <= expected_mib(case, row["parameters"], row["device"])
