"""Limits on the shape of the code that no linter here holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from haversack_trainer.contract.cards import METHODS

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for room in ("operator", "trainer", "tests", "bench", "examples")
    for path in (ROOT / room).rglob("*.py")
)
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50
TABLES = {"cards.py", "choices.py"}
"""Of the methods, and of what ``method.type: Auto`` chooses."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert not long


def test_source_roots_and_tests_are_not_packages() -> None:
    """An ``operator/__init__.py`` would shadow the standard library's module."""
    forbidden = [ROOT / "operator/__init__.py", ROOT / "trainer/__init__.py"]
    forbidden += (ROOT / "tests").rglob("__init__.py")
    assert not [name(path) for path in forbidden if path.exists()]


def test_nobody_asks_which_method_it_is() -> None:
    """Methods differ by their card and class; outside of tables nobody knows their names."""
    known = {word for card in METHODS.values() for word in (card.type, card.member)}
    guilty = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "operator") or path.is_relative_to(ROOT / "trainer")
        if path.name not in TABLES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in known
    ]
    assert not guilty
