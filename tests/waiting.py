"""Waiting for what another process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
WAIT_SECONDS: Final = 30.0


def wait_for(
    what: Callable[[], T | None], seconds: float = WAIT_SECONDS, pause_seconds: float = 0.1
) -> T:
    """The first value that is not None or False."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing for {seconds} s"
        time.sleep(pause_seconds)
