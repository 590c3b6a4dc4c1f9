"""Time to equal loss over a thin line: what is exchanged against how long it takes (the run that C2 of the design asks for),
for a model from nothing and for one that was trained before.

Held-out loss against steps does not depend on the line (every scheme waits for its round), so it is measured once per
scheme and learning rate; the search for the rate ends where both neighbours, about three times as large or small, end at a
higher loss. All of it is kept in ``--state``, which a later call goes on from. Seconds a step are measured over the real hub with
mutual TLS, behind an emulated line per node. Time to a loss is their product, on the method's page. Schemes that send everything send equally
much, so the exchange of full-sync AdamW stands for theirs. ``--steps 2 --megabits 1000`` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from bench.abreast import processes, unfolding
from bench.figures import device_name, write
from bench.wan import Link
from bench.wan_node import Node, in_turns, nodes_of, timing
from bench.wan_schemes import (
    LADDER,
    RECKONED,
    SCHEMES,
    Curve,
    due,
    final_loss,
    for_all,
    steps_a_round,
)
from bench.wan_tasks import BATCH_SIZE, NUM_NODES, PLANS, Task

from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog

MEGABITS: Final = (10.0, 100.0, 1000.0)
ONE_WAY_MS: Final = 10.0
EVALUATE_EVERY: Final = 10
"""In steps, or a round that is longer."""


@dataclass(frozen=True, slots=True)
class Case:
    """One curve."""

    plan: str
    scheme: str
    rate: str
    steps: int

    @property
    def settings(self) -> dict[str, Any]:
        return {**SCHEMES[self.scheme], "learningRate": self.rate}

    def learn(self) -> dict[str, Any]:
        """Held-out figures against steps, and bytes a node published per step."""
        inner = steps_a_round(self.scheme)
        num_rounds = max(1, self.steps // inner)
        every = max(1, min(EVALUATE_EVERY, self.steps) // inner)
        task = task_of(self.plan)
        log = MemoryLog("bench")
        nodes = nodes_of(task, self.settings, lambda peer: MemoryExchange(log, peer))
        scores = []
        for number in range(num_rounds):
            in_turns(nodes, number, is_last=number + 1 == num_rounds)
            log.blobs.clear()  # Nobody comes later, and whole models would fill the memory.
            if (number + 1) % every == 0:
                scores.append(((number + 1) * inner, task.score(nodes[0].model)))
        if not _are_equal(nodes):
            raise RuntimeError(f"{self}: the nodes' weights differ")
        accuracies = [[step, score.accuracy] for step, score in scores]
        return {
            "learning_rate": self.rate,
            "losses": [[step, round(score.loss, 4)] for step, score in scores],
            **({"accuracies": accuracies} if scores[-1][1].accuracy is not None else {}),
            "bytes_sent_a_step": round(nodes[0].exchange.bytes_sent / (num_rounds * inner)),
        }


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def task_of(plan: str) -> Task:
    return PLANS[plan].task(device())


def _are_equal(nodes: Sequence[Node]) -> bool:
    first, *others = [node.model.trainable_state() for node in nodes]
    return all(torch.equal(first[name], other[name]) for other in others for name in first)


class Story:
    """Curves so far, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    def keep(self, case: Case, curve: dict[str, Any]) -> None:
        self._known[_name(case)] = curve
        self._path.write_text(json.dumps(self._known))

    def tried(self, plan: str, scheme: str, steps: int) -> list[Curve]:
        names = (_name(Case(plan, scheme, rate, steps)) for rate in LADDER)
        return [self._known[name] for name in names if name in self._known]

    def ahead(self, plan: str, scheme: str, steps: int) -> list[Case]:
        """What is to be tried next."""
        losses = {c["learning_rate"]: final_loss(c) for c in self.tried(plan, scheme, steps)}
        rates = due(losses) if losses else [PLANS[plan].first_rate]
        return [Case(plan, scheme, rate, steps) for rate in rates]


def _name(case: Case) -> str:
    return f"{case.plan}: {case.scheme} at {case.rate}, {case.steps} steps"


def search(story: Story, plan: str, steps: int, num_processes: int) -> Iterator[str]:
    """All schemes' curves; says how each ended."""
    running: set[Case] = set()

    def onward(scheme: str) -> list[Case]:
        new = [case for case in story.ahead(plan, scheme, steps) if case not in running]
        running.update(new)
        return new

    def kept(case: Case, curve: dict[str, Any]) -> list[Case]:
        story.keep(case, curve)
        return onward(case.scheme)

    first = [case for scheme in SCHEMES for case in onward(scheme)]
    with processes(num_processes) as pool:
        for case, curve in unfolding(pool, Case.learn, first, kept):
            yield f"{_name(case)}: {curve['losses'][-1]}"


def timings(plan: str, link: Link) -> dict[str, Mapping[str, Any]]:
    """Of each scheme."""
    rate = PLANS[plan].first_rate
    return for_all(
        {
            name: timing(task_of(plan), {**settings, "learningRate": rate}, link)
            for name, settings in SCHEMES.items()
            if name not in RECKONED
        }
    )


def measure(plan: str, story: Story, asked: argparse.Namespace) -> None:
    steps = asked.steps or PLANS[plan].steps
    for line in search(story, plan, steps, asked.processes):
        print(line, flush=True)
    if asked.curves_only:
        return
    timed = {f"{rate:g} Mbit/s": timings(plan, Link(rate, ONE_WAY_MS)) for rate in asked.megabits}
    curves = {scheme: story.tried(plan, scheme, steps) for scheme in SCHEMES}
    model, _ = task_of(plan).node(0)
    figures = {
        "nodes": NUM_NODES,
        "weights": sum(parameter.numel() for _, parameter in model.trainables()),
        "steps": steps,
        "batch_size_per_node": BATCH_SIZE,
        "one_way_delay_ms": ONE_WAY_MS,
        "device": device_name(),
        "curves": curves,
        "timings": timed,
    }
    variant = "" if device().type == "cpu" else f"_{device().type}"
    write("flexdemo_wan", figures, f"_{plan}{variant}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=PLANS, nargs="+", default=list(PLANS))
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--steps", type=int, help="default: each task's own")
    parser.add_argument("--megabits", type=float, nargs="+", default=MEGABITS)
    parser.add_argument("--state", type=Path, help="curves measured so far, kept there")
    parser.add_argument("--processes", type=int, default=1, help="so many curves at a time")
    parser.add_argument("--curves-only", action="store_true", help="time nothing, write no result")
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with TemporaryDirectory() as folder:
        story = Story(asked.state or Path(folder, "curves.json"))
        for plan in asked.task:
            measure(plan, story, asked)


if __name__ == "__main__":
    main()
