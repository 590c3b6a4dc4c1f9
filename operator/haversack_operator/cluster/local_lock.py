"""One ``haversack run`` per job and state folder: who runs it holds a lock that dies with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .local_state import StateError

FILE: Final = "lock"


class AlreadyRunning(Exception):
    """Another process runs the job."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} runs it")
        self.pid = pid


@contextlib.contextmanager
def running(folder: Path) -> Iterator[None]:
    """Be the one who runs the job of ``folder``. Raises ``AlreadyRunning``, or ``StateError`` if the
    folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except (OSError, ValueError) as error:
        raise StateError(
            f"{folder} cannot be used as a state folder ({error}); name another one"
        ) from error
    try:
        if not _locked(descriptor, fcntl.LOCK_EX):
            raise AlreadyRunning(_pid(descriptor))
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def runner(folder: Path) -> int | None:
    """The process that runs the job of ``folder``, or None."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _locked(descriptor, fcntl.LOCK_SH) else _pid(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(descriptor: int) -> int:
    """0 in the moment before it is written."""
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0
