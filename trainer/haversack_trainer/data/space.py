"""Room on a disk, looked at before a download."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from .samples import DataError


class NoSpace(DataError):
    """The data may be sound, but this machine's disk has no room for it."""


SPARE_BYTES: Final = 256 * 2**20
"""Left free after a download."""


def check_space(uri: str, needed: int, folder: Path) -> None:
    """Raises ``NoSpace`` if ``needed`` bytes do not fit beside the spare ones."""
    free = shutil.disk_usage(folder).free
    if needed and needed + SPARE_BYTES > free:
        raise NoSpace(
            f"{uri} needs {needed >> 20} MiB and {SPARE_BYTES >> 20} MiB to spare in {folder}, "
            f"but {free >> 20} MiB are free; give the cache a larger volume"
        )
