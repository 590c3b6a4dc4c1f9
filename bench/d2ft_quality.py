"""What D2FT's skipping costs in quality (P10): held-out accuracy after equally many samples, and after equal work.

One peer with all the data, LoRA or all weights, five micro-batches a step. Against it stand full steps: as many, and
as few as make the same work by the model of its cost (three fifths). All weights learn at a fifth of LoRA's rate. Seeds are paired: all arms begin with the same
weights and see the same samples in the same order. An arm's state is judged with every group running.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any, Final

from bench.abreast import abreast
from bench.d2ft_step import RHO
from bench.figures import spread, write
from bench.together import FULL, LORA, TASKS, Scale, Stage, Task

ADAPTERS: Final[Mapping[str, Mapping[str, Any]]] = {"lora": LORA, "all weights": FULL}
EVERYTHING: Final = "all in full"
SAME_WORK: Final = "all in full, three steps in five"
MICRO_BATCHES: Final = 5
BATCH_SIZE: Final = 20
EVALUATIONS: Final = 5
RESCALED: Final = {"rescale": "TrainInverse"}


@dataclass(frozen=True, slots=True)
class Arm:
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_up_percent: int = 0
    steps_percent: int = 100


def slots(full: int, forward_only: int) -> dict[str, Any]:
    return {"solver": "Slots", "slots": {"full": full, "forwardOnly": forward_only}}


ARMS: Final[Mapping[str, Arm]] = {
    EVERYTHING: Arm("DecLoRA"),
    SAME_WORK: Arm("DecLoRA", steps_percent=60),
    "3, 0, 2": Arm("D2FT", slots(3, 0)),
    "3, 0, 2, a tenth in full first": Arm("D2FT", slots(3, 0), warm_up_percent=10),
    "3, 0, 2, rescaled": Arm("D2FT", {**slots(3, 0), **RESCALED}),
    "3, 1, 1": Arm("D2FT", slots(3, 1)),
    "2, 1, 2": Arm("D2FT", slots(2, 1)),
    "most valuable, first and last layer never skipped": Arm(
        "D2FT", {"budget": "0.6", "protect": "FirstAndLast", "devices": [1]}
    ),
    "most valuable, budget 0.6": Arm("D2FT", {"budget": "0.6"}),
    "most valuable, budget 0.6, rescaled": Arm("D2FT", {"budget": "0.6", **RESCALED}),
    "most valuable, one budget for all groups": Arm("D2FT", {"budget": "0.6", "devices": [1]}),
}


def settings_of(arm: Arm, learning_rate: str, steps: int) -> dict[str, Any]:
    local = {"localSteps": 1, "learningRate": learning_rate}
    if arm.method == "DecLoRA":
        return {**local, **arm.settings}
    warm_up = steps * arm.warm_up_percent // 100
    return {
        "microBatches": MICRO_BATCHES,
        "warmUpSteps": warm_up,
        "gossip": local,
        **arm.settings,
    }


@dataclass(frozen=True, slots=True)
class Case:
    arm: str
    seed: int
    steps: int
    task: str
    adapter: str

    def run(self) -> dict[str, Any]:
        arm, task = ARMS[self.arm], task_of(self.task, self.adapter)
        rounds = self.steps * arm.steps_percent // 100
        scale = Scale(1, rounds, 1, BATCH_SIZE, max(1, rounds // EVALUATIONS))
        settings = settings_of(arm, task.learning_rate, self.steps)
        stage = Stage.of(scale, self.seed, task=task)
        found = stage.run_as_set(arm.method, settings, is_pooled=True)
        kept = ("loss", "accuracy", "cpu_seconds")
        return {"seed": self.seed, "rounds": rounds, **{name: found[name] for name in kept}}


def task_of(name: str, adapter: str) -> Task:
    usual = TASKS[name]
    rate = float(usual.learning_rate) / (1 if adapter == "lora" else 5)
    return replace(usual, adapter=ADAPTERS[adapter], learning_rate=f"{rate:g}")


def compute_share(arm: Arm, adapter: str) -> float:
    """Of full steps' modelled work, without scoring."""
    if arm.method == "DecLoRA":
        return arm.steps_percent / 100
    if (kinds := arm.settings.get("slots")) is None:
        share = float(arm.settings["budget"])
    else:
        share = (kinds["full"] + RHO[adapter] * kinds["forwardOnly"]) / MICRO_BATCHES
    return share + (1 - share) * arm.warm_up_percent / 100


def summary(found: Mapping[str, Sequence[Mapping[str, Any]]], adapter: str) -> dict[str, Any]:
    """The last figures by arm, and their distance from full steps, seed by seed."""

    def last(run: Mapping[str, Any], name: str) -> float:
        return float(run[name][run["rounds"]])

    usual = [last(run, "accuracy") for run in found[EVERYTHING]]
    rows = {}
    for arm, runs in found.items():
        accuracies = [last(run, "accuracy") for run in runs]
        points = [100 * (a - b) for a, b in zip(accuracies, usual, strict=True)]
        rows[arm] = {
            "accuracy_percent": spread([100 * accuracy for accuracy in accuracies]),
            "loss": spread([last(run, "loss") for run in runs], 4),
            "points_against_full": spread(points),
            "mean_points_against_full": round(fmean(points), 2),
            "compute_share": round(compute_share(ARMS[arm], adapter), 3),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="digits")
    parser.add_argument("--adapters", nargs="*", choices=ADAPTERS, default=list(ADAPTERS))
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[17, 18, 19])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    figures: dict[str, Any] = {"task": chosen.task, "steps": chosen.steps, "batch_size": BATCH_SIZE}
    for adapter in chosen.adapters:
        cases = [
            Case(arm, seed, chosen.steps, chosen.task, adapter)
            for arm in chosen.arms
            for seed in chosen.seeds
        ]
        found: dict[str, list[dict[str, Any]]] = {}
        for case, run in abreast(Case.run, cases, chosen.processes):
            found.setdefault(case.arm, []).append(run)
            print(adapter, case.arm, case.seed, run["accuracy"][run["rounds"]], flush=True)
        figures[adapter] = {
            "learning_rate": task_of(chosen.task, adapter).learning_rate,
            "summary": summary(found, adapter),
            "arms": {name: asdict(ARMS[name]) for name in chosen.arms},
            "runs": found,
        }
        write("d2ft_quality", figures, "" if chosen.task == "digits" else f"_{chosen.task}")


if __name__ == "__main__":
    main()
