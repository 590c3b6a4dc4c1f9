"""How well SPSA learns: held-out accuracy against forward passes, for 1, 4 and 16 machines, and plain MeZO.

SmolLM2-135M, LoRA of rank 8, a task by prompt. The machines are simulated in one process: each has its own data,
directions and bytes, by the method's own code; they share one copy of the weights, since replicas are equal
bit by bit. A machine measures one direction a round, so that their number is all that differs. MeZO is its
paper's Algorithm 1 (normal deviates from a seeded generator, in place, fp32). AdamW with a backward pass shows
what LoRA reaches; its step counts as four forwards.

SPSA on one machine, MeZO and AdamW first try each learning rate for a while; the one whose training loss ends
lowest is taken, by all numbers of machines the same, and three times of it by several machines again, whose mean scatters less. Arms go
on side by side until the minutes are over; all of it is kept in ``--state``: call it again and it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from bench import prompted, smollm
from bench.abreast import abreast
from bench.figures import device_name, write
from bench.learners import AdamW, Learner, Machines, Mezo, Setting

from haversack_trainer.checkpoint.tensors import decode_tensors, encode_tensors
from haversack_trainer.contract.report import Evaluation
from haversack_trainer.data import Samples
from haversack_trainer.evaluate import evaluate
from haversack_trainer.model import FineTuned, load_model

ARMS: Final = {
    "SPSA x 1": 1,
    "SPSA x 4": 1,
    "SPSA x 16": 1,
    "SPSA x 4, rate x 3": 3,
    "SPSA x 16, rate x 3": 3,
    "MeZO": 1,
    "AdamW": 1,
}
"""And by what the kind's best rate is multiplied."""
RATES: Final = {
    "SPSA": ("0.0003", "0.001", "0.003", "0.01"),
    "MeZO": ("0.0003", "0.001", "0.003", "0.01"),
    "AdamW": ("0.0003", "0.001", "0.003"),
}
EVERY: Final = 256
"""Forwards of an arm between two evaluations: a multiple of all arms' rounds."""
TRIAL: Final = 2
"""Evaluations that a learning rate is tried for."""
EVALUATION_BATCH: Final = 64


def learner(name: str, rate: str, setting: Setting) -> Learner:
    """An arm by its name: ``MeZO``, ``AdamW`` or ``SPSA x <machines>`` and whatever comes after a comma."""
    if name == "MeZO":
        return Mezo(setting, float(rate))
    if name == "AdamW":
        return AdamW(setting, float(rate))
    return Machines(setting, rate, int(name.partition(",")[0].rpartition(" ")[2]))


class Story:
    """The arms' curves and weights, in a folder."""

    def __init__(self, folder: Path, initial: dict[str, torch.Tensor]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._initial = folder, initial

    def points(self, arm: str) -> list[dict[str, Any]]:
        """An arm's evaluations so far, ``[0]`` before its first step."""
        path = self._file(arm, "json")
        return json.loads(path.read_text()) if path.exists() else []

    def weights(self, arm: str) -> dict[str, torch.Tensor]:
        """The trainables after the last of them."""
        path = self._file(arm, "safetensors")
        return decode_tensors(path.read_bytes()) if path.exists() else self._initial

    def keep(self, arm: str, point: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
        points = [*self.points(arm), point]
        self._file(arm, "safetensors").write_bytes(encode_tensors(state))
        self._file(arm, "json").write_text(json.dumps(points))

    def _file(self, arm: str, kind: str) -> Path:
        return self._folder / f"{arm.replace(' ', '_')}.{kind}"


class Bench:
    """Arms on one model."""

    def __init__(
        self, folder: Path, whole: Samples, batch_size: int, state: Path, every: int = EVERY
    ) -> None:
        """``every``: forwards of an arm between two evaluations."""
        job = prompted.job(folder, batch_size)
        self.model: FineTuned = load_model(job, folder, whole.classes)
        self.model.train(False)
        parts = prompted.dealt(whole, job)
        self.held_out: Samples = parts.held_out
        self.setting = Setting(self.model, whole, parts.parts, batch_size)
        self.story = Story(state, self.model.trainable_state())
        self._learners: dict[str, Learner] = {}
        self._every = every

    @cached_property
    def untrained(self) -> Evaluation:
        """The same for all arms."""
        return evaluate(self.model, self.held_out, EVALUATION_BATCH, 0).evaluation

    def learner_of(self, arm: str, name: str, rate: str) -> Learner:
        """The arm's learner as it was left, in this process or in an earlier one."""
        if arm not in self._learners:
            made = learner(name, rate, self.setting)
            made.resume(self.story.weights(f"{arm} extra") if self.story.points(arm)[1:] else {})
            self._learners[arm] = made
        return self._learners[arm]

    def advance(self, arm: str, name: str, rate: str) -> None:
        """One evaluation further; the first is of the untrained model."""
        points = self.story.points(arm)
        self.model.load_trainable_state(self.story.weights(arm))
        if not points:
            self._note(arm, self.untrained, 0, [], 0.0)
            return
        one, begin = self.learner_of(arm, name, rate), time.perf_counter()
        steps, done = self._every // one.forwards, len(points) - 1
        losses = [one.step(number) for number in range(done * steps, (done + 1) * steps)]
        seconds = time.perf_counter() - begin
        if extra := one.extra():
            self.story.keep(f"{arm} extra", {}, extra)
        found = evaluate(self.model, self.held_out, EVALUATION_BATCH, 0).evaluation
        self._note(arm, found, (done + 1) * self._every, losses, seconds)

    def _note(
        self, arm: str, found: Evaluation, forwards: int, losses: list[float], seconds: float
    ) -> None:
        point = {
            "forwards": forwards,
            "held_out_loss": round(found.loss, 5),
            "held_out_accuracy": found.accuracy,
            "training_losses": [round(loss, 5) for loss in losses],
            "seconds": round(seconds, 2),
        }
        self.story.keep(arm, point, self.model.trainable_state())
        print(f"{arm}: {forwards} forwards, {found.loss:.4f}, {found.accuracy}", flush=True)

    def best_rate(self, kind: str) -> str | None:
        """The rate whose last training losses are lowest; None while one is still to be tried."""
        ends = {rate: self.story.points(_trial(kind, rate)) for rate in RATES[kind]}
        if any(len(points) <= TRIAL for points in ends.values()):
            return None
        means = {rate: np.mean(p[-1]["training_losses"]) for rate, p in ends.items()}
        return min(means, key=lambda rate: means[rate] if np.isfinite(means[rate]) else np.inf)

    def figures(self) -> dict[str, Any]:
        trials = [_trial(kind, rate) for kind, rates in RATES.items() for rate in rates]
        return {
            "device": device_name(),
            "parameters_trained": sum(p.numel() for _, p in self.model.trainables()),
            "prompt": prompted.PROMPT,
            "batch_size": self.setting.batch_size,
            "num_held_out": len(self.held_out),
            "rates": {kind: self.best_rate(kind) for kind in RATES},
            "trials": {arm: self.story.points(arm) for arm in trials},
            "arms": {arm: self.story.points(arm) for arm in ARMS},
        }


def _trial(kind: str, rate: str) -> str:
    return f"trial {kind} {rate}"


@dataclass(frozen=True, slots=True)
class Case:
    """An arm, and how far it goes."""

    arm: str
    name: str
    rate: str
    batch_size: int
    state: Path
    end: float
    """By ``time.time``: not begun after it is a further evaluation."""
    evaluations: int | None = None

    def run(self) -> None:
        bench = Bench(smollm.folder(), prompted.samples(), self.batch_size, self.state)
        while time.time() < self.end:
            if (
                self.evaluations is not None
                and len(bench.story.points(self.arm)) > self.evaluations
            ):
                return
            bench.advance(self.arm, self.name, self.rate)


def trials(batch_size: int, state: Path, end: float) -> list[Case]:
    return [
        Case(
            _trial(kind, rate),
            "SPSA x 1" if kind == "SPSA" else kind,
            rate,
            batch_size,
            state,
            end,
            TRIAL,
        )
        for kind, rates in RATES.items()
        for rate in rates
    ]


def arms(bench: Bench, state: Path, end: float) -> list[Case]:
    """None as long as a rate is still to be tried."""
    found = []
    for arm, factor in ARMS.items():
        rate = bench.best_rate(arm.partition(" ")[0])
        if rate is None:
            return []
        chosen = str(Decimal(rate) * factor)
        found.append(Case(arm, arm, chosen, bench.setting.batch_size, state, end))
    return found


def carry_out(cases: Sequence[Case], num_processes: int) -> None:
    for case, _ in abreast(Case.run, cases, num_processes):
        print(f"{case.arm} at {case.rate}: done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="stop after this long")
    parser.add_argument("--batch-size", type=int, default=16, help="texts in a forward pass")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--state", type=Path, default=Path("build/spsa_learning"))
    parser.add_argument("--processes", type=int, default=len(ARMS), help="so many arms at a time")
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    end = time.time() + 60 * asked.minutes
    carry_out(trials(asked.batch_size, asked.state, end), asked.processes)
    bench = Bench(smollm.folder(), prompted.samples(), asked.batch_size, asked.state)
    # All are to have the same time.
    carry_out(arms(bench, asked.state, end), len(ARMS))
    write("spsa_learning", bench.figures(), "_cuda" if torch.cuda.is_available() else "")


if __name__ == "__main__":
    main()
