"""Flower beside ours: FedAvg of LoRA by Flower's simulation, and by DropPEFT that drops nothing and shares everything.

Peers with few of the classes each (Dirichlet 0.1) and the task of ``bench.together``. Flower's clients are plain transformers
and peft (``bench.rivals``); they begin with the same state, see the same batches and drop the same units, so what may
differ is the averaging and what it costs. Flower is in a virtual environment of its own in the user's cache, made the
first time. Its clients take turns in one of Ray's processes, ours in this one, with a hub beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bench import rival, versus
from bench.together import Stage

PROGRAM: Final = "import sys, pathlib, bench.rivals.flower as f; f.main(pathlib.Path(sys.argv[1]))"
ENVIRONMENT: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    # Ray's workers would give way to whatever else the machine does.
    "RAY_worker_niceness": "0",
}


def ours(stage: Stage) -> dict[str, Any]:
    """Every member averages, so it fetches what all others have sent."""
    return versus.ours(stage, "DropPEFT", {"dropRate": "0"}, readers=stage.scale.peers - 1)


def theirs(stage: Stage, python: Path, folder: Path) -> dict[str, Any]:
    """FedAvg by a server."""
    command = [str(python), "-c", PROGRAM, str(folder)]
    spent = rival.cpu_seconds_of(command, ENVIRONMENT, folder / "log")
    states = [folder / f"round-{n + 1}.safetensors" for n in range(stage.scale.rounds)]
    means = list(json.loads((folder / "means.json").read_text()).values())
    return {
        **versus.judged(stage, lambda number: versus.read(states[number - 1])),
        **versus.costs(
            spent,
            [path.stat().st_mtime for path in states],
            [each["local_cpu_seconds"] * stage.scale.peers for each in means],
        ),
        "up_bytes": means[-1]["up_bytes"],
        "down_bytes": means[-1]["down_bytes"],
    }


COMPARISON: Final = versus.Comparison(
    "flower_fedavg",
    "flwr[simulation]==1.42.0",
    ("DropPEFT, drop rate 0", "Flower, FedAvg"),
    ours,
    theirs,
)


def main() -> None:
    COMPARISON.main(__doc__)


if __name__ == "__main__":
    main()
