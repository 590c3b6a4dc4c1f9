"""Quality and bytes of Dec-LoRA's options: ten peers on a ring, each with few of the classes (Dirichlet 0.1).

MiniLM learns to tell from a docstring which family of Python's standard library it comes from. All peers are in this
process, over a log in memory, and take turns on one model. Every arm sees the same batches; seeds are paired. Pooled
is one peer that has all data and as many samples a step as all peers together. Compared are held-out losses and
accuracies of the mean adapter (P8: int8 and int4 against fp32; P9: ring against pooled).

``--device cuda`` takes about three minutes a seed; ``--rounds 2 --peers 3`` shows on a CPU that it works.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from bench.figures import spread, write
from examples.demo import corpus, minilm

from haversack_trainer.contract.jobfile import JobFile

if TYPE_CHECKING:
    from torch import Tensor

    from haversack_trainer.data import Batches, Samples, Split
    from haversack_trainer.method import Method
    from haversack_trainer.model import FineTuned

POOLED: Final = "pooled"
FP32: Final = "ring"
ARMS: Final[Mapping[str, dict[str, Any]]] = {
    POOLED: {},
    "star (FedAvg)": {"graph": "Star"},
    FP32: {},
    "ring FFA": {"mixer": "FFA"},
    "ring ADF": {"mixer": "ADF"},
    "ring DeCAF": {"mixer": "DeCAF"},
    "ring FedRot": {"mixer": "FedRot"},
    "ring Auto": {"mixer": "Auto"},
    "regular of 4": {"graph": "Regular"},
    "ring int8 CHOCO": {"codec": "Int8"},
    "ring int4 CHOCO": {"codec": "Int4"},
    "ring int8 difference": {"codec": "Int8", "scheme": "Difference"},
    "ring int4 difference": {"codec": "Int4", "scheme": "Difference"},
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is trained."""

    peers: int
    rounds: int
    local_steps: int
    batch_size: int
    period: int
    """Rounds between two evaluations."""


@dataclass
class Turn:
    """One peer: its method, its door to the log, and the state that it puts into the model in its turn."""

    method: Method
    exchange: Any
    state: dict[str, Tensor]


@dataclass
class Run:
    """One arm with one seed."""

    scale: Scale
    model: FineTuned
    held_out: Samples
    turns: list[Turn]
    losses: dict[int, float] = field(default_factory=dict)
    accuracies: dict[int, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    def all_rounds(self) -> dict[str, Any]:
        """Train; what came of it."""
        sent: list[int] = []
        for number in range(self.scale.rounds):
            before = self._sent()
            self._round(number)
            sent.append(self._sent() - before)
            if (number + 1) % self.scale.period == 0 or number + 1 == self.scale.rounds:
                self._evaluate(number + 1)
        return {
            "loss": self.losses,
            "accuracy": self.accuracies,
            "bytes_a_round": sent,
            "last_metrics": self.seen,
        }

    def _round(self, number: int) -> None:
        for turn in self.turns:
            self.model.load_trainable_state(turn.state)
            turn.method.local_step(number)
            turn.exchange.publish(number, turn.method.outgoing(), _never)
            turn.state = self.model.trainable_state()
        for turn in self.turns:
            swap = turn.exchange.collect(number, _never)
            self.model.load_trainable_state(turn.state)
            self.seen = turn.method.incoming(swap)
            turn.state = self.model.trainable_state()

    def _evaluate(self, done: int) -> None:
        from haversack_trainer.evaluate import evaluate

        first = self.turns[0]
        closed = first.exchange.state.closed[-1]
        self.model.load_trainable_state(first.method.consensus(closed, first.exchange.fetch))
        found = evaluate(self.model, self.held_out, 64, done).evaluation
        self.losses[done] = round(found.loss, 5)
        self.accuracies[done] = round(found.accuracy or 0.0, 4)

    def _sent(self) -> int:
        return sum(turn.exchange.bytes_sent for turn in self.turns)


def _never() -> bool:
    return False


def job_of(data: Path, scale: Scale, seed: int) -> JobFile:
    return JobFile.model_validate(
        {
            "run": "bench.quality.00000000",
            "job": "quality",
            "model": {"uri": f"file://{minilm.folder()}", "task": "SequenceClassification"},
            "dataset": {
                "uri": f"file://{data}",
                "maxLength": 32,
                "partition": {"type": "Dirichlet", "alpha": "0.1"},
                "heldOut": {"percent": 23, "maxSamples": 600},
            },
            "adapter": {"lora": {"rank": 8, "alpha": 16}},
            "method": {"type": "DecLoRA"},
            "training": {"batchSize": scale.batch_size, "seed": seed},
            "storage": {"uri": "file:///none"},
            "numPeers": scale.peers,
            "minPeers": 1,
        }
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """What all peers of a run share."""

    scale: Scale
    seed: int
    model: FineTuned
    samples: Samples
    parts: Split

    @staticmethod
    def of(data: Path, scale: Scale, seed: int) -> Stage:
        from haversack_trainer.data import read, split
        from haversack_trainer.model import load_model

        job = job_of(data, scale, seed)
        samples = read(job.dataset, data, job.model.task)
        parts = split(samples, job.dataset, scale.peers, seed)
        return Stage(scale, seed, load_model(job, minilm.folder(), samples.classes), samples, parts)

    def run(self, arm: str) -> Run:
        """All peers of an arm at their start."""
        from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
        from haversack_trainer.methods.declora.method import DecLora
        from haversack_trainer.methods.declora.settings import Settings

        log = MemoryLog("bench")
        common = {"localSteps": self.scale.local_steps, "learningRate": "0.002"}
        settings = Settings.model_validate(common | ARMS[arm])
        turns = []
        for peer in range(1 if arm == POOLED else self.scale.peers):
            batches = self._batches(peer, pooled=arm == POOLED)
            method = DecLora(settings, peer, self.seed, self.model, batches)
            turns.append(Turn(method, MemoryExchange(log, peer), self.model.trainable_state()))
        _start(turns)
        return Run(self.scale, self.model, self.parts.held_out, turns)

    def _batches(self, peer: int, *, pooled: bool) -> Batches:
        from haversack_trainer.data import Batches

        size = self.scale.batch_size * (self.scale.peers if pooled else 1)
        return Batches(
            self.model.encode,
            self.samples,
            self.parts.training if pooled else self.parts.parts[peer],
            batch_size=size,
            micro_batch_size=size,
            seed=self.seed,
            peer=peer,
        )


def _start(turns: list[Turn]) -> None:
    from haversack_trainer.contract.membership import Identity, Join, Start
    from haversack_trainer.contract.records import Kind

    identity = Identity(base_model="", adapter="", trainables="", method="", seed="", data="")
    for peer, turn in enumerate(turns):
        turn.exchange.join(Join(identity=identity, incarnation=f"peer-{peer}"))
    turns[0].exchange.append(Kind.START, 0, Start().model_dump_json(by_alias=True).encode())


def compared(found: dict[str, list[dict[str, Any]]], rounds: int) -> dict[str, Any]:
    """The last round's figures by arm, and what they are to the references, seed by seed."""
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
        if FP32 in found:
            reference = [run["loss"][rounds] for run in found[FP32]]
            changes = [100 * (a / b - 1) for a, b in zip(losses, reference, strict=True)]
            rows[arm]["loss_against_ring_percent"] = spread(changes)
        if POOLED in found:
            pooled = [100 * run["accuracy"][rounds] for run in found[POOLED]]
            points = [a - b for a, b in zip(accuracies, pooled, strict=True)]
            rows[arm]["accuracy_against_pooled_points"] = spread(points)
    if FP32 in rows:
        whole = rows[FP32]["kilobytes_a_round_after_the_first"]
        for row in rows.values():
            share = row["kilobytes_a_round_after_the_first"] / whole
            row["bytes_against_ring"] = round(share, 3)
    return rows


def measured(arms: list[str], scale: Scale, seeds: list[int]) -> dict[str, Any]:
    """All arms with all seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    with TemporaryDirectory() as name:
        data = Path(name, "docstrings.jsonl")
        corpus.write(data)
        for arm in arms:
            for seed in seeds:
                begin = time.perf_counter()
                run = Stage.of(data, scale, seed).run(arm).all_rounds()
                seconds = time.perf_counter() - begin
                found.setdefault(arm, []).append({"seed": seed, **run})
                last = max(run["loss"])
                print(
                    f"{arm}, seed {seed}: loss {run['loss'][last]}, accuracy "
                    f"{run['accuracy'][last]}, {seconds:.0f} s",
                    flush=True,
                )
    return {"summary": compared(found, scale.rounds), "runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[17])
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("--rounds", type=int, help="default 30 on cuda, 6 on a cpu")
    parser.add_argument("--local-steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--no-file", action="store_true", help="only say what was measured")
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    rounds, evaluations = (30, 6) if chosen.device == "cuda" else (6, 2)
    rounds = chosen.rounds or rounds
    period = max(1, rounds // evaluations)
    scale = Scale(chosen.peers, rounds, chosen.local_steps, chosen.batch_size, period)
    figures = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **asdict(scale),
        **measured(chosen.arms, scale, chosen.seeds),
    }
    if chosen.no_file:
        print(figures["summary"])
    else:
        write("declora_quality", figures, "_cuda" if chosen.device == "cuda" else "")


if __name__ == "__main__":
    main()
