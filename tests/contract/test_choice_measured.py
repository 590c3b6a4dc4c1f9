"""The table of ``method.type: Auto`` beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from haversack_trainer.contract.choices import TABLE

STANDARD_ERROR = 0.016
"""Of an accuracy of 80 % on 600 held-out samples."""


def test_what_fast_lines_choose_has_learned_no_less_than_training_in_step() -> None:
    """As far as it was measured: a row that measurements speak against is to be looked at again."""
    results = Path(__file__).parents[2] / "bench/results"
    files = [results / f"choosing{kind}.json" for kind in ("", "_cuda")]
    found = [pair for f in files for pair in json.loads(f.read_text())["figures"].items()]
    arms = {name: arm for name, arm in found if isinstance(arm, dict)}
    (row,) = (row for row in TABLE if row.name == "fast lines")
    chosen = arms[row.method]
    assert row.settings.items() <= chosen["settings"].items()
    in_step = [arm for name, arm in arms.items() if name.startswith("FlexDeMo")]
    assert in_step
    for arm in in_step:
        assert arm["steps"] == chosen["steps"]
        assert chosen["accuracy"] > arm["accuracy"] - STANDARD_ERROR
