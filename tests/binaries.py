"""Where the tests' binaries come from, and what to say when they are not there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

BUILD = Path(__file__).parent / "cluster/controlplane/build"

skipped: list[str] = []
"""Why tests of this session were skipped; told once more as the session's last line."""


def find_tool(name: str) -> Path | None:
    """``KUBEBUILDER_ASSETS``, then the ``PATH``, then the cache of ``controlplane/build``."""
    built = subprocess.run([BUILD, "--print"], check=True, capture_output=True, text=True).stdout
    for folder in (os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH"), built.strip()):
        found = shutil.which(name, path=folder) if folder else None
        if found:
            return Path(found)
    return None


def need_tool(name: str) -> Path:
    """The tool, or skip this test aloud; in CI its absence is a failure."""
    found = find_tool(name)
    if found:
        return found
    reason = f"{name} is not here: run `make controlplane` (needs Go) or set KUBEBUILDER_ASSETS"
    if os.environ.get("CI"):
        pytest.fail(reason)
    skipped.append(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
