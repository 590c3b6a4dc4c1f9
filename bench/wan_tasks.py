"""What two nodes train together in ``bench.flexdemo_wan``: a small language model from nothing, or a MiniLM that was
trained before, by LoRA or in all of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import torch
from bench.small_lm import SEED, Batches, Sequences, SmallLm, streams
from bench.together import DOCSTRINGS, FULL, LORA, Scale, Stage

NUM_NODES: Final = 2
BATCH_SIZE: Final = 8
"""Of each node."""
NUM_HELD_OUT: Final = 200
EVEN: Final = "100"
"""Of the Dirichlet distribution: classes are spread evenly, or nearly so."""


class Score(NamedTuple):
    loss: float
    accuracy: float | None = None


class Task(Protocol):
    """Made anew for each run, with the same weights and data in every process."""

    def node(self, number: int) -> tuple[Any, Any]:
        """A model of its own, at its start, and its batches."""

    def score(self, model: Any) -> Score:
        """Held out."""


class FromNothing:
    """``SmallLm`` on bytes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held_out, self._parts = streams(NUM_NODES)

    def node(self, number: int) -> tuple[SmallLm, Batches]:
        return SmallLm(self._device), Batches(self._parts[number], number, BATCH_SIZE)

    @torch.no_grad()
    def score(self, model: SmallLm) -> Score:
        model.train(mode=False)
        loss = float(model.loss(Sequences(self._held_out)))
        model.train(mode=True)
        return Score(loss)


@dataclass(frozen=True)
class PreTrained:
    """MiniLM learns which family of the standard library a docstring is from."""

    adapter: Mapping[str, Any]

    @cached_property
    def _stage(self) -> Stage:
        scale = Scale(NUM_NODES, rounds=0, local_steps=1, batch_size=BATCH_SIZE, period=1)
        return Stage.of(scale, SEED, EVEN, replace(DOCSTRINGS, adapter=self.adapter))

    def node(self, number: int) -> tuple[Any, Any]:
        return self._stage.model_of(number), self._stage.batches(number)

    def score(self, model: Any) -> Score:
        from haversack_trainer.evaluate import evaluate

        held_out = self._stage.parts.held_out.take(range(NUM_HELD_OUT))
        found = evaluate(model, held_out, 64, 0).evaluation
        model.train(mode=True)
        return Score(found.loss, found.accuracy)


@dataclass(frozen=True, slots=True)
class Plan:
    """A task, and how it is gone about."""

    task: Callable[[torch.device], Task]
    steps: int
    first_rate: str
    """Learning rate that the search begins at."""


PLANS: Final[Mapping[str, Plan]] = {
    "small_lm": Plan(FromNothing, 200, "0.001"),
    "minilm_lora": Plan(lambda _: PreTrained(LORA), 120, "0.003"),
    "minilm_full": Plan(lambda _: PreTrained(FULL), 80, "0.0001"),
}
