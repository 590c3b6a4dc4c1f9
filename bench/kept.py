"""What benches make once and keep in the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "haversack-bench"


def kept(name: str, make: Callable[[Path], object]) -> Path:
    """The folder ``name``, which ``make`` fills the first time, by one process; whole or not there at all."""
    CACHE.mkdir(parents=True, exist_ok=True)
    done, partial = CACHE / name, CACHE / f"{name}.partial"
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(done)
    return done
