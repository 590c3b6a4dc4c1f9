"""What this machine has: CPUs and memory that this process may use, and NVIDIA devices."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

DEVICE_RESOURCE: Final = "nvidia.com/gpu"
CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
QUERY: Final = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
QUERY_SECONDS: Final = 10
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def name() -> str:
    """The host's name as a node's name may be."""
    return re.sub(r"[^a-z0-9-]+", "-", platform.node().lower()).strip("-")[:63] or "localhost"


def architecture() -> str:
    """As in ``kubernetes.io/arch``."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def num_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """The machine's memory, or what this process's control group may use of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_limit(path) for path in CGROUP_LIMITS)
    return min([total, *(limit for limit in limits if limit is not None)])


def device_memory_bytes() -> tuple[int, ...]:
    """Memory of each NVIDIA device, empty where there is none or the driver does not answer."""
    program = shutil.which(QUERY[0])
    if program is None:
        return ()
    try:
        answer = subprocess.run(  # noqa: S603  the driver's own program
            [program, *QUERY[1:]], capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(line) * 2**20 for line in answer.stdout.split() if line.isdigit())


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
