"""Each import contract is broken once, on a copy, to see it caught."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

BREACHES = {
    "operator: rooms and arrows": (
        "operator/haversack_operator/placement/__init__.py",
        "import haversack_operator.reconcile",
    ),
    "trainer: rooms and arrows": (
        "trainer/haversack_trainer/objects/__init__.py",
        "import haversack_trainer.checkpoint",
    ),
    "the operator knows the contract and nothing else of the trainer": (
        "operator/haversack_operator/api/__init__.py",
        "import haversack_trainer.config",
    ),
    "the trainer does not know the operator": (
        "trainer/haversack_trainer/contract/__init__.py",
        "import haversack_operator",
    ),
    "methods are independent of one another": (
        "trainer/haversack_trainer/methods/spsa/__init__.py",
        "import haversack_trainer.methods.declora",
    ),
    "methods and loop know no transport": (
        "trainer/haversack_trainer/methods/declora/__init__.py",
        "import haversack_trainer.exchange.http",
    ),
}


def lint(folder: Path) -> str:
    """What import-linter says of the tree in ``folder``, whatever is installed elsewhere."""
    path = f"{folder / 'operator'}:{folder / 'trainer'}"
    done = subprocess.run(
        [LINT, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for room in ("operator", "trainer"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_all_contracts_are_kept(tree: Path) -> None:
    report = lint(tree)
    assert "0 broken" in report, report
    assert f"{len(BREACHES)} kept" in report, report


@pytest.mark.parametrize("contract", BREACHES)
def test_a_breach_is_caught(tree: Path, contract: str) -> None:
    file, line = BREACHES[contract]
    with (tree / file).open("a") as source:
        source.write(f"\n{line}\n")

    assert f"{contract} BROKEN" in lint(tree)
