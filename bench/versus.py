"""A comparison with another framework: both on the same task with each seed, judged by the same code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bench import rival
from bench.figures import spread, write
from bench.hub_client import hub_doors
from bench.together import Scale, Stage
from torch import Tensor

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who is compared with whom."""

    name: str
    """Of the result file."""
    requirement: str
    """The other framework, for pip."""
    arms: tuple[str, str]
    """What ours and theirs are called."""
    ours: Callable[[Stage], Figures]
    theirs: Callable[[Stage, Path, Path], Figures]
    """Given its environment's Python and a folder, which holds the task."""

    def run(self, scale: Scale, seeds: Sequence[int]) -> Iterator[Figures]:
        """One seed after the other; after each, what is known so far."""
        python = rival.python_of(self.requirement)
        found: dict[str, list[Figures]] = {arm: [] for arm in self.arms}
        with TemporaryDirectory() as name:
            for seed in seeds:
                folder = Path(name, str(seed))
                folder.mkdir()
                stage = Stage.of(scale, seed)
                rival.export(stage, folder)
                theirs = self.theirs(stage, python, folder)
                ours = self.ours(Stage.of(scale, seed))
                for arm, run in zip(self.arms, (ours, theirs), strict=True):
                    found[arm].append({"seed": seed, **run})
                yield {
                    "rival": self.requirement,
                    "peers": scale.peers,
                    "rounds": scale.rounds,
                    "summary": {arm: summed_up(runs, scale.rounds) for arm, runs in found.items()},
                    "runs": found,
                }

    def main(self, about: str | None) -> None:
        """By the command line."""
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--seeds", type=int, nargs="*", default=[17, 18])
        parser.add_argument("--peers", type=int, default=4, help="at least 3")
        parser.add_argument("--rounds", type=int, default=12, help="at least 2")
        parser.add_argument("--no-file", action="store_true", help="only say what was measured")
        chosen = parser.parse_args()
        torch.set_num_threads(1)
        scale = Scale(chosen.peers, chosen.rounds, local_steps=5, batch_size=8, period=4)
        for figures in self.run(scale, chosen.seeds):
            if chosen.no_file:
                print(json.dumps(figures["summary"], indent=2), flush=True)
            else:
                write(self.name, figures)


def ours(stage: Stage, method: str, settings: Mapping[str, Any], *, readers: int) -> Figures:
    """All peers in this process, over a hub in one of its own, with mutual TLS and its log on disk. What a peer sends
    is fetched by so many others."""
    with hub_doors(stage.scale.peers) as (hub, door):
        before = hub.cpu_seconds()
        run = stage.run(method, settings, door=door)
        of_hub = hub.cpu_seconds() - before
    up = fmean(run["bytes_a_round"]) / stage.scale.peers
    beyond = run["cpu_seconds"] - run["local_cpu_seconds"] + of_hub
    return {
        "accuracy": run["accuracy"],
        "loss": run["loss"],
        "local_cpu_seconds": run["local_cpu_seconds"],
        "beyond_cpu_seconds_a_round": beyond / stage.scale.rounds,
        "up_bytes": up,
        "down_bytes": up * readers,
    }


def judged(stage: Stage, state_after: Callable[[int], Mapping[str, Tensor]]) -> Figures:
    """Held-out loss and accuracy after the rounds in which a run of ``stage`` is judged, too."""
    from haversack_trainer.evaluate import evaluate

    scale = stage.scale
    rounds = {n for n in range(1, scale.rounds + 1) if n % scale.period == 0} | {scale.rounds}
    found = {}
    for number in sorted(rounds):
        stage.model.load_trainable_state(state_after(number))
        found[number] = evaluate(stage.model, stage.parts.held_out, 64, number).evaluation
    return {
        "accuracy": {n: round(each.accuracy or 0.0, 4) for n, each in found.items()},
        "loss": {n: round(each.loss, 5) for n, each in found.items()},
    }


def costs(spent: rival.Spent, ends: Sequence[float], local: Sequence[float]) -> Figures:
    """CPU-seconds: of the local steps, of starting, and of a round beyond its steps. ``ends``: when each round was over;
    ``local``: what its steps took, all peers together. The first round cannot be told from the start."""
    first, last = rival.until(spent, ends[0]), rival.until(spent, ends[-1])
    return {
        "local_cpu_seconds": sum(local),
        "start_cpu_seconds": first - local[0],
        "beyond_cpu_seconds_a_round": (last - first - sum(local[1:])) / (len(ends) - 1),
        "all_cpu_seconds": spent[-1][1],
    }


def read(path: Path) -> dict[str, Tensor]:
    """A state."""
    from safetensors.torch import load_file

    return dict(load_file(path))


def summed_up(runs: Sequence[Mapping[str, Any]], rounds: int) -> Figures:
    """An arm over its seeds."""
    return {
        "accuracy_percent": spread([100 * run["accuracy"][rounds] for run in runs]),
        "loss": spread([run["loss"][rounds] for run in runs], 5),
        "local_cpu_seconds": spread([run["local_cpu_seconds"] for run in runs]),
        "beyond_cpu_seconds_a_round": spread(
            [run["beyond_cpu_seconds_a_round"] for run in runs], 3
        ),
        "up_kilobytes_a_round": round(runs[0]["up_bytes"] / 1000, 1),
        "down_kilobytes_a_round": round(runs[0]["down_bytes"] / 1000, 1),
    }
