"""Peers of one process that train together, each its own copy of a model, and take turns, over a log in memory.

A MiniLM learns to tell from a docstring which family of Python's standard library it comes from, or a small vision
transformer which digit it sees. Every arm of a comparison sees the same batches, and seeds are paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from bench import digits
from bench.memory_log import Door, in_memory, never, start
from examples.demo import corpus, minilm

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.schedule import STEADY, Schedule, ScheduleKind

if TYPE_CHECKING:
    from haversack_trainer.data import Batches, Samples, Split
    from haversack_trainer.method import Method
    from haversack_trainer.model import FineTuned


MAX_LENGTH: Final = 32
LORA_ALPHA: Final = 16
LEARNING_RATE: Final = "0.002"
LORA: Final[Mapping[str, Any]] = {"lora": {"rank": 8, "alpha": LORA_ALPHA}}
FULL: Final[Mapping[str, Any]] = {"type": "Full"}


@dataclass(frozen=True, slots=True)
class Task:
    """A real model, and real data for it."""

    kind: str
    model: Callable[[], Path]
    write: Callable[[Path], object]
    """The data, as JSON lines."""
    held_out_percent: int
    learning_rate: str
    adapter: Mapping[str, Any] = field(default_factory=lambda: LORA)
    personal_percent: int | None = None
    """Of each peer's samples, those that its own state is scored by; None: it is not."""


DOCSTRINGS: Final = Task("SequenceClassification", minilm.folder, corpus.write, 23, LEARNING_RATE)
DIGITS: Final = Task("ImageClassification", digits.folder, digits.write, 33, "0.005")
TASKS: Final[Mapping[str, Task]] = {"docstrings": DOCSTRINGS, "digits": DIGITS}


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
    """One peer: its method, its door to the log, and its model."""

    method: Method
    exchange: Any
    model: FineTuned


@dataclass
class Run:
    """One arm with one seed."""

    scale: Scale
    held_out: Samples
    turns: list[Turn]
    personal: Sequence[Samples] = ()
    """What each peer's own state is scored by at the end, if anything."""
    losses: dict[int, float] = field(default_factory=dict)
    accuracies: dict[int, float] = field(default_factory=dict)
    cpu_seconds: list[float] = field(default_factory=list)
    """Of each round's local work, by the peer that took longest: the others would have waited for it."""
    local_cpu_seconds: float = 0.0
    """Of all peers' and rounds' local work."""
    all_cpu_seconds: float = 0.0
    """Of all peers and rounds, with what they do for the exchange."""
    seconds: list[float] = field(default_factory=list)
    """Of each round, by the clock, of all peers one after the other."""
    seen: dict[str, float] = field(default_factory=dict)

    def all_rounds(self) -> dict[str, Any]:
        """Train; what came of it."""
        sent: list[int] = []
        for number in range(self.scale.rounds):
            before, begin, start = self._sent(), time.process_time(), time.perf_counter()
            self._round(number)
            self.seconds.append(time.perf_counter() - start)
            self.all_cpu_seconds += time.process_time() - begin
            sent.append(self._sent() - before)
            if (number + 1) % self.scale.period == 0 or number + 1 == self.scale.rounds:
                self._evaluate(number + 1)
        return {
            "loss": self.losses,
            "accuracy": self.accuracies,
            "bytes_a_round": sent,
            "cpu_seconds": round(self.all_cpu_seconds, 3),
            "local_cpu_seconds": round(self.local_cpu_seconds, 3),
            "cpu_seconds_a_round": [round(seconds, 3) for seconds in self.cpu_seconds],
            "seconds_a_round": [round(seconds, 4) for seconds in self.seconds],
            "last_metrics": self.seen,
            "personal_accuracy": self._personal(),
        }

    def _round(self, number: int) -> None:
        slowest = 0.0
        for turn in self.turns:
            begin = time.process_time()
            turn.method.local_step(number)
            spent = time.process_time() - begin
            slowest, self.local_cpu_seconds = max(slowest, spent), self.local_cpu_seconds + spent
            turn.exchange.publish(number, turn.method.outgoing(), never)
        self.cpu_seconds.append(slowest)
        for turn in self.turns:
            self.seen = turn.method.incoming(turn.exchange.collect(number, never))

    def _evaluate(self, done: int) -> None:
        from haversack_trainer.evaluate import evaluate

        first = self.turns[0]
        own = first.model.trainable_state()
        closed = first.exchange.state.closed[-1]
        first.model.load_trainable_state(first.method.consensus(closed, first.exchange.fetch))
        found = evaluate(first.model, self.held_out, 64, done).evaluation
        first.model.load_trainable_state(own)
        self.losses[done] = round(found.loss, 5)
        self.accuracies[done] = round(found.accuracy or 0.0, 4)

    def _personal(self) -> list[float]:
        from haversack_trainer.evaluate import evaluate

        return [
            round(evaluate(turn.model, own, 64, 0).evaluation.accuracy or 0.0, 4)
            for turn, own in zip(self.turns, self.personal, strict=False)
        ]

    def _sent(self) -> int:
        return sum(turn.exchange.bytes_sent for turn in self.turns)


def job_of(task: Task, data: Path, scale: Scale, seed: int, alpha: str) -> JobFile:
    return JobFile.model_validate(
        {
            "run": "bench.quality.00000000",
            "job": "quality",
            "model": {"uri": f"file://{task.model()}", "task": task.kind},
            "dataset": {
                "uri": f"file://{data}",
                "maxLength": MAX_LENGTH,
                "partition": {"type": "Dirichlet", "alpha": alpha},
                "heldOut": {
                    "percent": task.held_out_percent,
                    "maxSamples": 600,
                    "personalPercent": task.personal_percent,
                },
            },
            "adapter": task.adapter,
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

    task: Task
    scale: Scale
    seed: int
    job: JobFile
    model: FineTuned
    samples: Samples
    parts: Split

    @staticmethod
    def of(
        scale: Scale,
        seed: int,
        alpha: str = "0.1",
        task: Task = DOCSTRINGS,
    ) -> Stage:
        """``alpha``: of the classes' spread over the peers."""
        from haversack_trainer.data import read, split
        from haversack_trainer.model import load_model

        with TemporaryDirectory() as name:
            data = Path(name, "samples.jsonl")
            task.write(data)
            job = job_of(task, data, scale, seed, alpha)
            samples = read(job.dataset, data, job.model.task)
        parts = split(samples, job.dataset, scale.peers, seed)
        model = load_model(job, task.model(), samples.classes)
        return Stage(task, scale, seed, job, model, samples, parts)

    def run(
        self,
        method: str,
        settings: Mapping[str, Any],
        *,
        is_pooled: bool = False,
        door: Door | None = None,
    ) -> dict[str, Any]:
        """What comes of all peers from their start to the last round; pooled: one peer that has all data and as many
        samples a step as all of them. ``door``: to another log than one in memory."""
        usual = {"localSteps": self.scale.local_steps, "learningRate": self.task.learning_rate}
        return self.run_as_set(method, {**usual, **settings}, is_pooled=is_pooled, door=door)

    def run_as_set(
        self,
        method: str,
        settings: Mapping[str, Any],
        *,
        is_pooled: bool = False,
        door: Door | None = None,
        schedule: ScheduleKind = ScheduleKind.CONSTANT,
    ) -> dict[str, Any]:
        """The same with these settings and no others. ``schedule``: of the learning rate."""
        course = Schedule(schedule, num_rounds=self.scale.rounds)
        turns = self.turns(
            method, settings, door or in_memory(), course=course, is_pooled=is_pooled
        )
        personal = [self.samples.take(part) for part in self.parts.personal]
        return Run(self.scale, self.parts.held_out, turns, personal).all_rounds()

    def turns(
        self,
        method: str,
        settings: Mapping[str, Any],
        door: Door,
        *,
        course: Schedule = STEADY,
        is_pooled: bool = False,
    ) -> list[Turn]:
        """All peers at their start."""
        card = METHODS[method]
        chosen = card.load_settings().model_validate(settings)
        turns = []
        for peer in range(1 if is_pooled else self.scale.peers):
            model = self.model_of(peer)
            batches = self.batches(peer, is_pooled=is_pooled)
            made = card.load_factory()(chosen, peer, self.seed, model, batches, schedule=course)
            turns.append(Turn(made, door(peer), model))
        start([turn.exchange for turn in turns])
        return turns

    def model_of(self, peer: int) -> FineTuned:
        """Methods may keep what they find in a model, so that no two can have the same one."""
        from haversack_trainer.model import load_model

        if peer == 0:
            return self.model
        return load_model(self.job, self.task.model(), self.samples.classes)

    def batches(self, peer: int, *, is_pooled: bool = False) -> Batches:
        """What a peer trains on."""
        from haversack_trainer.data import Batches

        size = self.scale.batch_size * (self.scale.peers if is_pooled else 1)
        return Batches(
            self.model.encode,
            self.samples,
            self.parts.training if is_pooled else self.parts.parts[peer],
            batch_size=size,
            micro_batch_size=size,
            seed=self.seed,
            peer=peer,
        )
