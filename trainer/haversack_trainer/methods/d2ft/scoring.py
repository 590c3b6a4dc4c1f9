"""How the model's groups are scored: what the losses of micro-batches say of them, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from haversack_trainer.blocks import GroupOps, Groups, Op, Scales
from haversack_trainer.blocks.scores import Scoring, gated, magnitude
from haversack_trainer.data.batches import Piece
from haversack_trainer.method import LayeredTrainee

from .kinds import BackwardScore, ForwardScore, Mode
from .knapsack import Values
from .settings import Settings

LEAST_RHO: Final = 0.05
LEAST_SECONDS: Final = 1e-9


class Runner(Protocol):
    """Runs the groups of a model as tables say: a ``GroupExecutor``, or a pod's first process."""

    groups: Groups
    executed: Counter[Op]
    """Cells that were met with each operation, in training."""

    @property
    def num_bytes(self) -> int:
        """Of tensors that went from process to process so far."""

    def under(self, ops: GroupOps, scales: Scales | None = None, /) -> AbstractContextManager[None]:
        """Passes in here obey ``ops``, and what a layer's groups add counts ``scales[layer]`` times."""

    def step(self) -> AbstractContextManager[None]:
        """Afterwards what is trained has the gradients of the passes in here."""

    def scoring(self) -> AbstractContextManager[Scoring]:
        """Passes in here, under no table, are scored."""


class Scorer:
    """For one model, which is whole when it is made; scores are ``[K]``."""

    def __init__(self, settings: Settings, model: LayeredTrainee, executor: Runner) -> None:
        self.executor, self._model = executor, model
        self._can_listen = settings.mode is Mode.EMULATE
        self._gates_count = settings.backward_score is BackwardScore.GATE
        self.kinds = {settings.forward_score.value} | (
            {BackwardScore.GATE.value} if self._gates_count else set()
        )
        """Of the scores that differ between micro-batches."""
        self.magnitudes: Values | None = None
        """Where the backward score is one of the weights: those that the model came with."""
        if not self._gates_count:
            self.magnitudes = magnitude(self.groups).ravel()

    @property
    def groups(self) -> Groups:
        return self.executor.groups

    def score(self, piece: Piece) -> Mapping[str, Values]:
        """By a forward and backward pass in which everything runs. Before and after it, nothing has a gradient."""
        parameters = [parameter for _, parameter in self._model.trainables()]
        num_samples = len(piece.records)
        found: dict[str, Values] = {}
        with self.executor.scoring() as scoring:
            for batch in piece.batches:
                loss: Tensor = self._model.loss(batch) * (batch.num_samples / num_samples)
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            if ForwardScore.GATE in self.kinds:
                found[ForwardScore.GATE] = scoring.gates().ravel()
            if ForwardScore.FISHER in self.kinds:
                found[ForwardScore.FISHER] = scoring.fisher().ravel()
        for parameter in parameters:
            parameter.grad = None
        return found

    @contextmanager
    def listening(self, share: float) -> Iterator[dict[str, Values]]:
        """What the passes in here tell by themselves, there when they are over: gate scores of what runs in full,
        by masks: slices tell nothing. ``share``: what the loss was multiplied by."""
        told: dict[str, Values] = {}
        if not self._can_listen or ForwardScore.GATE not in self.kinds:
            yield told
            return
        with gated(self.groups) as gates:
            yield told
        told[ForwardScore.GATE] = gates.scores().ravel() / share


def measured_rho(model: LayeredTrainee, batch: Any, clock: Callable[[], float]) -> float:
    """Seconds of a forward pass over those of a forward and backward pass; one of each goes before, to warm up."""
    parameters = [parameter for _, parameter in model.trainables()]
    forward = whole = 0.0
    model.train(mode=True)
    for _ in range(2):
        begin = clock()
        loss = model.loss(batch)
        loss.item()  # waits for an accelerator
        forward = clock() - begin
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        torch.stack([p.grad.sum() for p in parameters if p.grad is not None]).sum().item()
        whole = clock() - begin
        for parameter in parameters:
            parameter.grad = None
    return min(1.0, max(LEAST_RHO, forward / max(whole, LEAST_SECONDS)))
