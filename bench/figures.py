"""Writes what a benchmark measured, with everything needed to compare it with another day's."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("haversack", "aiohttp", "numpy", "torch", "pydantic", "highspy", "boto3")


def write(name: str, figures: Mapping[str, Any], variant: str = "") -> Path:
    """``bench/results/<name><variant>.json``: the figures, versions, machine, date and commit. Says where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}{variant}.json"
    result = {
        "benchmark": name,
        "command": f"python -m bench {name}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": _machine(),
        "versions": _versions(),
        "figures": figures,
    }
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{path.name}: {json.dumps(figures, indent=2)}")
    return path


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, least and most of repeated measurements, and how many there were."""
    return {
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "repeats": len(values),
    }


def device_name() -> str:
    """Of the accelerator, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def commit() -> str:
    """``-dirty`` says that more than result files had changed."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/", ":!/bench/results")
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
