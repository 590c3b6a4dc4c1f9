"""Where a backward pass fits: local first-order steps, of which K projections are published (Ferret, arXiv 2409.06277).

A peer takes some steps of gradient descent by itself. What it moved, over rate and steps, is its mean gradient v
on the way; published are z·v for K directions, exact but for fp32, and all apply them as if differences had been
measured. E[(z·v)·z] = v, since E[z·z^T] is the identity: unbiased, with d/K times v's square as variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from haversack_trainer.method import Batches, Trainee

from .directions import Directions, Term
from .estimate import Measured
from .settings import LOCAL_LEARNING_RATE, LOCAL_STEPS, Settings
from .vector import ParameterVector
from .words import key


@dataclass(frozen=True, slots=True)
class Projector:
    """As ``Estimator``: measures the directions of a round on a peer's own data."""

    settings: Settings
    peer: int
    seed: int
    model: Trainee
    batches: Batches
    vector: ParameterVector
    directions: Directions

    def measure(self, round: int) -> Iterator[Measured]:
        """All directions at once. The parameters are afterwards what they were, bit by bit."""
        self.model.train(mode=False)
        steps = self.settings.local_steps or LOCAL_STEPS
        rate = float(self.settings.local_learning_rate or LOCAL_LEARNING_RATE)
        origin, losses, num_samples = self.vector.copy(), [], 0
        try:
            for step in range(steps):
                loss, count = self._descend(round * steps + step, rate)
                losses.append(loss)
                num_samples += count
            moved = torch.zeros_like(origin)
            self.vector.read(moved)
            gradient = (origin - moved) / (rate * steps)
        finally:
            self.vector.write(origin)
        slopes = [self._along(gradient, round, index) for index in range(self.settings.directions)]
        mean = torch.tensor([sum(losses) / steps], dtype=torch.float64)
        yield Measured(torch.tensor(slopes, dtype=torch.float64)[:, None], mean, num_samples)

    def _descend(self, step: int, rate: float) -> tuple[float, int]:
        """One step; the batch's mean loss before it, and its samples."""
        batch = self.batches.micro_batches(step)
        num_samples = sum(micro.num_samples for micro in batch)
        parameters = [parameter for _, parameter in self.model.trainables()]
        total = 0.0
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        for micro in batch:
            loss = self.model.loss(micro) * (micro.num_samples / num_samples)
            total += float(loss.detach())
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            for gradient, some in zip(gradients, found, strict=True):
                if some is not None:
                    gradient.add_(some)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(rate * gradient)
        return total, num_samples

    def _along(self, gradient: Tensor, round: int, index: int) -> float:
        term = Term(key(self.seed, round, self.peer, index), 1.0, round)
        total = 0.0
        for start, end in self.directions.pieces(gradient.device):
            z = torch.zeros(end - start, device=gradient.device)
            self.directions.add(z, start, [term])
            total += float(z.double() @ gradient[start:end].double())
        return total
