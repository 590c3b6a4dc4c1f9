"""This process and its machine: signals, threads, repeatable arithmetic."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Final

from haversack_trainer.exchange.base import Stop

_QUOTA_V2: Final = "cpu.max"
_QUOTA_V1: Final = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
_MEMORY_V2: Final = "memory.max"
_MEMORY_V1: Final = "memory/memory.limit_in_bytes"
CGROUP: Final = Path("/sys/fs/cgroup")


def stop_on_signals() -> Stop:
    """A flag that SIGTERM and SIGINT raise; nothing else happens at that moment."""
    flag = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flag.set())
    return flag.is_set


def set_up_torch(environ: Mapping[str, str]) -> None:
    """As many threads as this process may use cores, and deterministic kernels where there are any."""
    # Read by cuBLAS when it starts; without it matrix products on CUDA do not repeat.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    if not environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(num_cores(CGROUP))
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


def memory_bytes(cgroup: Path) -> int:
    """Memory that the control group leaves this process, at most the machine's."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in (_MEMORY_V2, _MEMORY_V1):
        try:
            granted = (cgroup / name).read_text().strip()
        except OSError:
            continue
        return min(whole, int(granted)) if granted.isdecimal() else whole
    return whole


def num_threads(environ: Mapping[str, str]) -> int:
    """Threads that the pod may keep busy."""
    told = environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else num_cores(CGROUP)


def num_cores(cgroup: Path) -> int:
    """Cores that affinity and CPU quota leave; torch by itself looks at neither the quota."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, min(allowed, round(quota))) if quota else allowed


def _quota(cgroup: Path) -> float | None:
    """Cores that the control group grants, None for no limit."""
    try:
        if (path := cgroup / _QUOTA_V2).exists():
            quota, period = path.read_text().split()
        else:
            quota, period = ((cgroup / name).read_text().strip() for name in _QUOTA_V1)
        return int(quota) / int(period) if quota not in {"max", "-1"} else None
    except (OSError, ValueError):
        return None
