"""What the commands have in common: exit codes, the one error, and figures as people write them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""The job failed, or its adapter did not pass the gate."""
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
"""Suspended by Ctrl-C, as shells count it."""

STATE_DIR: Final = Path(".haversack")
"""Where ``run`` keeps its jobs, and the other commands look for them."""

_MINUTE: Final = 60
_HOUR: Final = 3600


class InputError(Exception):
    """What was asked for cannot be done as asked; one sentence that says what to change."""


def program(command: str = "") -> str:
    """What the person typed: ``haversack run`` or ``kubectl finetune run``."""
    plugin = Path(sys.argv[0]).name.startswith("kubectl-")
    return f"{'kubectl finetune' if plugin else 'haversack'} {command}".strip()


def state_option(state_dir: Path) -> str:
    """With this option the other commands find a job of this machine."""
    return "" if state_dir == STATE_DIR else f" --state-dir {shlex.quote(str(state_dir))}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 07 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def bar(share: float, width: int) -> str:
    """A bar of ``width`` characters, filled to ``share`` of 1."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def percent(share: float | str | None) -> str:
    """``81.5 %``, or a dash where nothing is known."""
    return "–" if share is None else f"{float(share) * 100:.1f} %"
