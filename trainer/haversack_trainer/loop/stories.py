"""The events of all who led the run, kept in the store until the report is written.

A leader that dies, or a run that is suspended, takes its own file of events along.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from haversack_trainer.objects.base import NotFound, Store, StoreError
from haversack_trainer.report.events import Event, parse_events, read_events
from haversack_trainer.report.merge import merged

PERIOD_SECONDS: Final = 60.0
"""Between two copies: a file of events is copied whole."""
PATIENCE_SECONDS: Final = 5.0
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Stories:
    """This process's own events, and those that others left in the store."""

    store: Store
    run: str
    path: Path
    """Of this process's events."""
    clock: Callable[[], float] = time.monotonic
    _writer: str = field(default_factory=lambda: uuid4().hex[:12], init=False)
    _due: float = field(default=0.0, init=False)

    def keep(self, *, at_once: bool = False) -> None:
        """Copy the events into the store if the last copy is old. Best effort."""
        if not at_once and self.clock() < self._due:
            return
        self._due = self.clock() + PERIOD_SECONDS
        key = f"{self._folder}{self._writer}.jsonl"
        try:
            self.store.within(PATIENCE_SECONDS).put(key, self.path.read_bytes())
        except (OSError, StoreError) as error:
            _logger.warning("the events so far are not copied: %s", error)

    def together(self) -> list[Event]:
        """Everything that is known of the run. Raises ``StoreError``."""
        others = [list(parse_events(text.splitlines())) for text in self._kept()]
        return merged([read_events(self.path), *others])

    def forget(self) -> None:
        """The report is written: nobody needs the copies any more. Raises ``StoreError``."""
        for found in list(self.store.list(self._folder)):
            self.store.delete(found.key)

    @property
    def _folder(self) -> str:
        return f"events/{self.run}/"

    def _kept(self) -> list[bytes]:
        found: list[bytes] = []
        for info in list(self.store.list(self._folder)):
            try:
                found.append(self.store.get(info.key)[0])
            except NotFound:
                continue
        return found
