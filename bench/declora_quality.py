"""Quality and bytes of Dec-LoRA's options: ten peers on a ring, each with few of the classes (Dirichlet 0.1).

The model and its task are those of ``bench.together``. Pooled is one peer that has all data and as many samples a
step as all peers together. Compared are held-out losses and accuracies of the mean adapter (P8: int8 and int4 against
fp32; P9: ring against pooled).

``--device cuda`` takes about three minutes a seed; ``--rounds 2 --peers 3`` shows on a CPU that it works.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Final

from bench.abreast import abreast
from bench.figures import device_name, spread, write
from bench.together import TASKS, Scale, Stage, Task

from haversack_trainer.contract.schedule import ScheduleKind

POOLED: Final = "pooled"
FP32: Final = "ring"
SGD: Final = {"optimizer": "SGD"}
GLOBAL: Final = {"optimizer": "QuasiGlobal"}
ARMS: Final[Mapping[str, dict[str, Any]]] = {
    POOLED: SGD,
    FP32: GLOBAL,
    "ring, SGD": SGD,
    "ring, AdamW": {"optimizer": "AdamW"},
    "pooled, AdamW": {"optimizer": "AdamW"},
    "star (FedAvg), SGD": {**SGD, "graph": "Star"},
    "star (FedAvg), AdamW": {"optimizer": "AdamW", "graph": "Star"},
    "regular of 4": {**GLOBAL, "graph": "Regular"},
    "ring, peers count by samples": {**GLOBAL, "weights": "Samples"},
    "ring FFA": {**GLOBAL, "mixer": "FFA"},
    "ring ADF": {**GLOBAL, "mixer": "ADF"},
    "ring DeCAF, SGD": {**SGD, "mixer": "DeCAF"},
    "ring FedRot, SGD": {**SGD, "mixer": "FedRot"},
    "ring int8 CHOCO": {**GLOBAL, "codec": "Int8"},
    "ring int4 CHOCO": {**GLOBAL, "codec": "Int4"},
    "ring int8 difference": {**GLOBAL, "codec": "Int8", "scheme": "Difference"},
    "ring int4 difference": {**GLOBAL, "codec": "Int4", "scheme": "Difference"},
}
"""With AdamW at the task's rate, otherwise at the optimizers' usual one."""
COSINE: Final = ", cosine"
"""After an arm's name: its learning rate falls over the run."""


def settings_of(arm: str, scale: Scale, task: Task) -> dict[str, Any]:
    chosen = ARMS[arm.removesuffix(COSINE)]
    rate = {"learningRate": task.learning_rate} if chosen["optimizer"] == "AdamW" else {}
    return {"localSteps": scale.local_steps, **rate, **chosen}


def compared(found: dict[str, list[dict[str, Any]]], rounds: int) -> dict[str, Any]:
    """The last round's figures by arm, and what they are to the references of the same schedule, seed by seed."""
    rows: dict[str, Any] = {}
    for arm, runs in found.items():
        losses = [run["loss"][rounds] for run in runs]
        accuracies = [100 * run["accuracy"][rounds] for run in runs]
        rows[arm] = {
            "loss": spread(losses, 4),
            "accuracy_percent": spread(accuracies),
            "kilobytes_a_round_after_the_first": round(
                mean(mean(run["bytes_a_round"][1:] or [0]) for run in runs) / 1000, 1
            ),
        }
        fp32, pooled_arm = (name + COSINE * arm.endswith(COSINE) for name in (FP32, POOLED))
        if fp32 in found:
            reference = [run["loss"][rounds] for run in found[fp32]]
            changes = [100 * (a / b - 1) for a, b in zip(losses, reference, strict=True)]
            rows[arm]["loss_against_ring_percent"] = spread(changes)
        if pooled_arm in found:
            pooled = [100 * run["accuracy"][rounds] for run in found[pooled_arm]]
            points = [a - b for a, b in zip(accuracies, pooled, strict=True)]
            rows[arm]["accuracy_against_pooled_points"] = spread(points)
    for arm, row in rows.items():
        if (reference_row := rows.get(FP32 + COSINE * arm.endswith(COSINE))) is not None:
            whole = reference_row["kilobytes_a_round_after_the_first"]
            row["bytes_against_ring"] = round(row["kilobytes_a_round_after_the_first"] / whole, 3)
    return rows


@dataclass(frozen=True, slots=True)
class Case:
    arm: str
    seed: int
    scale: Scale
    task: str

    def run(self) -> dict[str, Any]:
        task = TASKS[self.task]
        settings = settings_of(self.arm, self.scale, task)
        stage = Stage.of(self.scale, self.seed, task=task)
        is_cosine = self.arm.endswith(COSINE)
        found = stage.run_as_set(
            "DecLoRA",
            settings,
            is_pooled=self.arm.startswith(POOLED),
            schedule=ScheduleKind.COSINE if is_cosine else ScheduleKind.CONSTANT,
        )
        return {"seed": self.seed, **found}


def measured(cases: list[Case], num_processes: int) -> Iterator[dict[str, Any]]:
    """After each arm, what is known so far."""
    found: dict[str, list[dict[str, Any]]] = {}
    num_seeds = len({case.seed for case in cases})
    for case, run in abreast(Case.run, cases, num_processes):
        found.setdefault(case.arm, []).append(run)
        last = max(run["loss"])
        print(case.arm, case.seed, run["loss"][last], run["accuracy"][last], flush=True)
        if len(found[case.arm]) == num_seeds:
            yield {"summary": compared(found, case.scale.rounds), "runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--arms", nargs="*", choices=[*ARMS, *(arm + COSINE for arm in ARMS)], default=list(ARMS)
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[17])
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("--rounds", type=int, help="default 30 on cuda, 6 on a cpu")
    parser.add_argument("--local-steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--task", choices=TASKS, default="docstrings")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-file", action="store_true", help="only say what was measured")
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rounds, evaluations = (30, 6) if chosen.device == "cuda" else (6, 2)
    rounds = chosen.rounds or rounds
    period = max(1, rounds // evaluations)
    scale = Scale(chosen.peers, rounds, chosen.local_steps, chosen.batch_size, period)
    device = device_name()
    cases = [Case(arm, seed, scale, chosen.task) for arm in chosen.arms for seed in chosen.seeds]
    for known in measured(cases, chosen.processes):
        if chosen.no_file:
            print(known["summary"])
        else:
            figures = {"device": device, "task": chosen.task, **asdict(scale), **known}
            variant = "_digits" if chosen.task == "digits" else ""
            write(
                "declora_quality", figures, variant + ("_cuda" if chosen.device == "cuda" else "")
            )


if __name__ == "__main__":
    main()
