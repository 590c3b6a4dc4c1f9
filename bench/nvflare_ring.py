"""NVFlare beside ours: peers on a ring that train LoRA and mix with their neighbours, by NVFlare's peer-to-peer consensus and
by Dec-LoRA.

Peers with few of the classes each (Dirichlet 0.1) and the task of ``bench.together``. NVFlare's simulator runs each peer as a
process; its controller, its exchange and Metropolis weights on a ring, with the local steps of ``bench.rivals.peer``: the
same initial state, batches and dropout as ours. Its own ``DGDExecutor`` would exchange after every single step of plain
gradient descent. NVFlare is in a virtual environment of its own in the user's cache, made the first time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from bench import rival, versus
from bench.together import Stage

EXECUTOR: Final = Path(__file__).parent / "rivals/nvflare_ring.py"
SYNC_SECONDS: Final = 300
"""NVFlare ends a job when a neighbour is later than this; its default of 10 is short for peers that share two cores."""
COMMON: Final[Mapping[str, Any]] = {
    "format_version": 2,
    "components": [],
    "task_data_filters": [],
    "task_result_filters": [],
}


def ours(stage: Stage) -> dict[str, Any]:
    """A state is sent once, to the hub, where both neighbours fetch it."""
    return versus.ours(stage, "DecLoRA", {"graph": "Ring"}, readers=2)


def theirs(stage: Stage, python: Path, folder: Path) -> dict[str, Any]:
    """Judged is the mean of the peers' states, as ours."""
    scale = stage.scale
    count = str(scale.peers)
    command = [str(python.parent / "nvflare"), "simulator", str(job_of(folder, scale.peers))]
    options = ["-n", count, "-t", count, "-w", str(folder / "workspace")]
    spent = rival.cpu_seconds_of([*command, *options], {"OMP_NUM_THREADS": "1"}, folder / "log")

    def states(number: int) -> list[Path]:
        return [folder / f"state-{peer}-{number}.safetensors" for peer in range(scale.peers)]

    def mean(number: int) -> dict[str, torch.Tensor]:
        each = [versus.read(path) for path in states(number)]
        return {name: torch.stack([state[name] for state in each]).mean(0) for name in each[0]}

    figures = [json.loads(path.read_text()) for path in folder.glob("figures-*.json")]
    sent = fmean(each["sent_bytes"] for each in figures)
    by_round = zip(*(each["local_cpu_seconds"] for each in figures), strict=True)
    ends = [max(path.stat().st_mtime for path in states(n + 1)) for n in range(scale.rounds)]
    return {
        **versus.judged(stage, mean),
        **versus.costs(spent, ends, [sum(each) for each in by_round]),
        "up_bytes": sent,
        "down_bytes": sent,
    }


def job_of(folder: Path, num_peers: int) -> Path:
    """As NVFlare wants it: settings of server and clients, and the executor as the job's own code."""
    app = folder / "job/app"
    (app / "config").mkdir(parents=True)
    (app / "custom").mkdir()
    shutil.copy(EXECUTOR, app / "custom")
    meta = {"name": "ring", "min_clients": num_peers, "resource_spec": {}}
    network = {"path": "nvflare.app_opt.p2p.types.Config", "args": {"network": ring(num_peers)}}
    controller = {
        "id": "controller",
        "path": "nvflare.app_opt.p2p.controllers.DistOptController",
        "args": {"config": network},
    }
    executor = {
        "path": "nvflare_ring.Ring",
        "args": {"folder": str(folder), "sync_timeout": SYNC_SECONDS},
    }
    files: dict[Path, Mapping[str, Any]] = {
        app.parent / "meta.json": {**meta, "deploy_map": {"app": ["@ALL"]}},
        app / "config/config_fed_server.json": {**COMMON, "workflows": [controller]},
        app / "config/config_fed_client.json": {
            **COMMON,
            "executors": [{"tasks": ["config", "run_algorithm"], "executor": executor}],
        },
    }
    for path, content in files.items():
        path.write_text(json.dumps(content))
    return app.parent


def ring(num_peers: int) -> dict[str, Any]:
    """With Metropolis weights: a third for each neighbour and for oneself."""

    def neighbours(peer: int) -> list[dict[str, Any]]:
        others = sorted({(peer - 1) % num_peers, (peer + 1) % num_peers})
        return [{"id": f"site-{n + 1}", "weight": 1 / 3} for n in others]

    nodes = [{"id": f"site-{n + 1}", "neighbors": neighbours(n)} for n in range(num_peers)]
    return {"nodes": nodes}


COMPARISON: Final = versus.Comparison(
    "nvflare_ring",
    "nvflare==2.9.0",
    ("Dec-LoRA, ring", "NVFlare, consensus on a ring"),
    ours,
    theirs,
)


def main() -> None:
    COMPARISON.main(__doc__)


if __name__ == "__main__":
    main()
