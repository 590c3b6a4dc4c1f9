"""Draws on a terminal, or writes lines where there is none."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TextIO

from haversack_trainer.contract.report import RunProgress

from . import live

LINE_SECONDS: Final = 5.0
MIN_WIDTH: Final = 20
INDENT: Final = "  "


class Screen:
    """The live view: news scroll by, the block below them is drawn anew."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._terminal = out.isatty()
        self._drawn = 0
        self._last_line: tuple[float, str] = (float("-inf"), "")

    def show(
        self, job: Mapping[str, Any], progress: RunProgress | None, said: Collection[str] = ()
    ) -> None:
        """The job as it is now, without the sentences that were ``said``. Without a terminal: a line
        every few seconds, if it says anything new."""
        if self._terminal:
            self._draw(live.block(job, progress, said))
            return
        now, line = self._clock(), live.line(job, said)
        if line != self._last_line[1] and now - self._last_line[0] >= LINE_SECONDS:
            self._last_line = (now, line)
            self._write([line])

    def close(self, job: Mapping[str, Any], progress: RunProgress | None) -> None:
        """The block as it was at the end stays; who calls says how it ended."""
        if self._terminal:
            sentences = {entry["message"] for entry in job["status"].get("conditions", ())}
            self._draw(live.block(job, progress, sentences))
            self._drawn = 0

    def say(self, lines: Iterable[str]) -> None:
        """News: they stay."""
        self._erase()
        self._write(lines)

    def _draw(self, lines: list[str]) -> None:
        width = max(MIN_WIDTH, shutil.get_terminal_size().columns - 1)
        folded = [part for line in lines for part in fold(line, width)]
        self._erase()
        self._write(folded)
        self._drawn = len(folded)

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _write(self, lines: Iterable[str]) -> None:
        self._out.writelines(f"{line}\n" for line in lines)
        self._out.flush()


def fold(line: str, width: int) -> list[str]:
    """A line as lines of the terminal; nothing is cut off."""
    return textwrap.wrap(line, width, subsequent_indent=INDENT) or [""]
