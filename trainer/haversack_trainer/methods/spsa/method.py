"""SPSA with shared randomness: a peer sends one byte for each direction that it tried.

After "Just one byte (per gradient)" (Zelikman et al., arXiv 2306.10015) and MeZO (Malladi et al., arXiv
2305.17333). For a direction z that everybody can make from (run seed, step, peer, direction) a peer measures

    g = (L(theta + eps·z) - L(theta - eps·z)) / (2·eps)

on its own data and publishes g. All apply theta <- theta - eta·w·sum of g·z in the same order. The state is
a pure function of the initial one and the log: joining is replaying, and the replicas are equal bit by bit.
The run seed is ``training.seed``, so that a run can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Batches, Fetch, StepResult, Trainee, Unsuited

from . import codec
from .directions import Term, add, key
from .settings import Settings
from .update import update_of


class Spsa:
    """One round is one step: K directions, each on a batch of its own, no backward pass."""

    def __init__(
        self, settings: Settings, peer: int, seed: int, model: Trainee, batches: Batches
    ) -> None:
        self._settings, self._peer, self._seed = settings, peer, seed
        self._model, self._batches = model, batches
        self._parameters = [parameter for _, parameter in model.trainables()]
        self._epsilon = 2.0**-settings.epsilon_log2
        self._measured: list[float] = []
        _require_fp32(model)
        model.train(mode=False)

    @torch.no_grad()
    def local_step(self, round: int) -> StepResult:
        self._model.train(mode=False)
        theta = gather(self._parameters)
        losses: list[float] = []
        num_samples = 0
        self._measured = []
        try:
            for direction in range(self._settings.directions):
                batch = self._batches.micro_batches(round * self._settings.directions + direction)
                z = key(self._seed, round, self._peer, direction)
                above = self._loss_at(theta, Term(z, self._epsilon), batch)
                below = self._loss_at(theta, Term(z, -self._epsilon), batch)
                self._measured.append((above - below) / (2 * self._epsilon))
                losses.append((above + below) / 2)
                num_samples += sum(micro.num_samples for micro in batch)
        finally:
            scatter(theta, self._parameters)
        finite = [loss for loss in losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(finite) / len(finite) if finite else math.nan,
            num_samples=num_samples,
            num_nonfinite_steps=len(losses) - len(finite),
        )

    def _loss_at(self, theta: Tensor, offset: Term, batch: Iterable[Any]) -> float:
        """Loss at ``theta + offset``. ``theta`` itself is never moved, so that nothing drifts."""
        moved = theta.clone()
        add(moved, [offset])
        scatter(moved, self._parameters)
        total, num_samples = 0.0, 0
        for micro in batch:
            count: int = micro.num_samples
            total += float(self._model.loss(micro)) * count
            num_samples += count
        return total / num_samples

    def outgoing(self) -> Outgoing:
        if not any(map(math.isfinite, self._measured)):
            return Outgoing()
        exponent, codes = codec.encode(self._measured)
        return Outgoing(body=codes, aux=exponent)

    def ahead(self, round: int) -> None:
        """Nothing: directions are tried around the state that the open round leads to."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        return {"directions": float(self._apply([swap.closed]))}

    def catch_up(self, history: Iterable[ClosedRound], _fetch: Fetch) -> None:
        self._apply(history)

    def _apply(self, history: Iterable[ClosedRound]) -> int:
        theta = gather(self._parameters)
        count = 0
        for closed in history:
            update = update_of(closed, self._seed, self._settings)
            update.apply(theta)
            count += len(update.terms)
        scatter(theta, self._parameters)
        return count

    def consensus(self, _closed: ClosedRound, _fetch: Fetch) -> dict[str, Tensor]:
        """Everybody's state is the consensus."""
        return self._model.trainable_state()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the parameters and the log are all there is."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""


def gather(parameters: Sequence[nn.Parameter]) -> Tensor:
    """A copy of all trainable parameters as one vector, in canonical order, on their device."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


@torch.no_grad()
def scatter(flat: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Inverse of ``gather``, in place."""
    end = 0
    for parameter in parameters:
        start, end = end, end + parameter.numel()
        parameter.copy_(flat[start:end].view_as(parameter))


def _require_fp32(model: Trainee) -> None:
    for name, parameter in model.trainables():
        if parameter.dtype is not torch.float32:
            raise Unsuited(
                f"SPSA needs trainable tensors in fp32, {name} is {parameter.dtype}: "
                "perturbations and updates would be rounded away"
            )
