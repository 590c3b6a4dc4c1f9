"""Become another program, and die when the parent dies.

Run as a script, ``python -IS local_exec.py PARENT PROGRAM ARGUMENT…``, so that it starts in
milliseconds and imports nothing of the package.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def become(parent: int, argv: list[str]) -> None:
    """Replace this process with ``argv``, tied to ``parent``'s life where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    os.execvp(argv[0], argv)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
