"""Time to a target accuracy (P7): DropPEFT against FedAvg of LoRA, classes unevenly spread over the peers (Dirichlet).

The model and its task are those of ``bench.together``. FedAvg is DropPEFT that drops nothing and shares every layer:
the same averaging of the same states. Time is the CPU-seconds of one thread of the slowest peer, round by round; what a
line would add is not in it, but the bytes are told. Targets are the accuracy that FedAvg has at its end, and four fifths of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import torch
from bench.figures import spread, write
from bench.together import TASKS, Scale, Stage

FEDAVG: Final = "FedAvg of LoRA"
ARMS: Final[Mapping[str, dict[str, Any]]] = {
    FEDAVG: {"dropRate": "0"},
    "drop rate 0.5": {"dropRate": "0.5"},
    "drop rate 0.5, half of the layers shared": {
        "dropRate": "0.5",
        "share": "Low",
        "sharedLayers": 3,
    },
    "drop rate chosen by the configurator": {"configurator": "EpsilonGreedy"},
}
TARGETS: Final = (0.8, 1.0)
"""Shares of the accuracy that FedAvg has at its end."""
TARGET_MARGIN: Final = 0.01
"""An accuracy that is so near to the target has come to it: about one standard error of 600 samples' mean is more."""


def seconds_to(run: Mapping[str, Any], target: float) -> float | None:
    """CPU-seconds after which an evaluation first showed ``target``; None if none did."""
    spent = [0.0, *accumulate(run["cpu_seconds_a_round"])]
    return next(
        (spent[done] for done, accuracy in run["accuracy"].items() if accuracy >= target), None
    )


def sooner(
    runs: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]], share: float
) -> dict[str, Any]:
    """How much sooner than FedAvg an arm came to a share of its end, seed by seed."""
    came = []
    for run, reference in zip(runs, references, strict=True):
        target = share * last(reference, "accuracy") - TARGET_MARGIN
        usual, ours = seconds_to(reference, target), seconds_to(run, target)
        if usual and ours:
            came.append(usual / ours)
    return {"seeds_at_target": len(came), "times_as_fast": spread(came) if came else None}


def last(run: Mapping[str, Any], name: str) -> float:
    return float(run[name][max(run[name])])


def compared(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """By arm: its end, its cost, and how much sooner than FedAvg it came to the targets."""
    return {
        arm: {
            "accuracy_percent": spread([100 * last(run, "accuracy") for run in runs]),
            "loss": spread([last(run, "loss") for run in runs], 4),
            "cpu_seconds": spread([sum(run["cpu_seconds_a_round"]) for run in runs]),
            "kilobytes": spread([sum(run["bytes_a_round"]) / 1000 for run in runs]),
            "to": {f"{100 * share:.0f} %": sooner(runs, found[FEDAVG], share) for share in TARGETS},
        }
        for arm, runs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[17, 18])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--local-steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--alpha", default="0.1", help="how evenly classes are spread over peers")
    parser.add_argument("--task", choices=TASKS, default="docstrings")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    scale = Scale(chosen.peers, chosen.rounds, chosen.local_steps, chosen.batch_size, period=2)
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in chosen.seeds:
        for arm, settings in ARMS.items():
            run = Stage.of(scale, seed, chosen.alpha, TASKS[chosen.task]).run("DropPEFT", settings)
            found.setdefault(arm, []).append({"seed": seed, **run})
            print(arm, seed, run["accuracy"], sum(run["cpu_seconds_a_round"]), flush=True)
    summary = compared(found)
    figures = {"task": chosen.task, "alpha": chosen.alpha, "summary": summary, "runs": found}
    variant = "_digits" if chosen.task == "digits" else ""
    write("droppeft_target", figures, f"{variant}_alpha_{chosen.alpha}")


if __name__ == "__main__":
    main()
