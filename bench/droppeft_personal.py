"""Personal layers of DropPEFT against FedAvg, where classes are spread unevenly (Dirichlet 0.1) and where they are not.

Real digits (``bench.digits``), peers with data of their own, of which each keeps a quarter to be
scored by. A peer's score is the accuracy of its own state on those samples: with FedAvg that of what all share, with
personal layers of the shared and its own. Nothing is dropped in either. Seeds are paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final

from bench.abreast import abreast
from bench.figures import spread, write
from bench.together import DIGITS, Scale, Stage

ALPHAS: Final = ("0.1", "100")
PERSONAL_PERCENT: Final = 25
FEDAVG: Final = "FedAvg of LoRA"
ARMS: Final[Mapping[str, dict[str, Any]]] = {
    FEDAVG: {"dropRate": "0"},
    "half of the layers personal": {"dropRate": "0", "share": "Low", "sharedLayers": 3},
    "half of the layers and the head personal": {
        "dropRate": "0",
        "share": "Low",
        "sharedLayers": 3,
        "head": "Personal",
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    arm: str
    alpha: str
    seed: int
    scale: Scale

    def run(self) -> dict[str, Any]:
        task = replace(DIGITS, personal_percent=PERSONAL_PERCENT)
        found = Stage.of(self.scale, self.seed, self.alpha, task).run("DropPEFT", ARMS[self.arm])
        accuracy = found["accuracy"][self.scale.rounds]
        return {"seed": self.seed, "personal": found["personal_accuracy"], "shared": accuracy}


def compared(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """By arm, in percent: mean over the peers of their scores, and points above FedAvg's, seed by seed."""
    means = {arm: [100 * fmean(run["personal"]) for run in runs] for arm, runs in found.items()}
    return {
        arm: {
            "personal_percent": spread(values),
            "shared_percent": spread([100 * run["shared"] for run in found[arm]]),
            "points_above_fedavg": spread(
                [a - b for a, b in zip(values, means[FEDAVG], strict=True)]
            ),
        }
        for arm, values in means.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[17, 18, 19])
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    scale = Scale(chosen.peers, chosen.rounds, 5, 8, chosen.rounds)
    figures: dict[str, Any] = {**asdict(scale), "personal_held_out_percent": PERSONAL_PERCENT}
    for alpha in ALPHAS:
        cases = [Case(arm, alpha, seed, scale) for arm in ARMS for seed in chosen.seeds]
        found: dict[str, list[dict[str, Any]]] = {}
        for case, run in abreast(Case.run, cases, chosen.processes):
            found.setdefault(case.arm, []).append(run)
            print(alpha, case.arm, run, flush=True)
        figures[f"alpha {alpha}"] = {"summary": compared(found), "runs": found}
        write("droppeft_personal", figures)


if __name__ == "__main__":
    main()
