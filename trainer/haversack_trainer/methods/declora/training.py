"""The K local steps between two exchanges, on both factors (and the head), on the peer's own data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.method import Batches, StepResult, Trainee, dropout_seed
from haversack_trainer.privacy.samples import SampleGradients

from .optimizers import optimizer_of
from .settings import Settings


class Gradients(Protocol):
    """How a step's gradient comes about."""

    def accumulate(self, step: int) -> tuple[float, int]:
        """Add the gradient of a step's mean loss to the trainables', which have none; the loss, and its samples."""

    def figures(self) -> dict[str, float]:
        """For the report, of the steps since they were asked for last."""

    def state_dict(self) -> dict[str, Any]:
        """What goes from step to step."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""


class WholeBatch:
    """Each micro-batch forward and backward through the whole model. Implements ``Gradients``."""

    def __init__(self, model: Trainee, batches: Batches) -> None:
        self._model, self._batches = model, batches

    def accumulate(self, step: int) -> tuple[float, int]:
        """Of the mean over all samples, however they are cut into micro-batches."""
        batch = self._batches.micro_batches(step)
        num_samples = sum(micro.num_samples for micro in batch)
        total = 0.0
        for micro in batch:
            loss: Tensor = self._model.loss(micro) * (micro.num_samples / num_samples)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            total += float(loss.detach())
        return total, num_samples

    def figures(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing goes from step to step."""


class BySample:
    """As ``WholeBatch``, with each sample's gradient clipped and their sum blurred. Implements ``Gradients``."""

    def __init__(self, model: Trainee, batches: Batches, privacy: DeltaPrivacy) -> None:
        self._model, self._batches = model, batches
        self._gradients = SampleGradients([p for _, p in model.trainables()], privacy)

    def accumulate(self, step: int) -> tuple[float, int]:
        """The loss is not told."""
        batch = self._batches.micro_batches(step)
        num_samples = sum(micro.num_samples for micro in batch)
        for micro in batch:
            for sample in micro.samples():
                self._gradients.add(self._model.sample_losses(sample))
        self._gradients.blur(num_samples)
        return 0.0, num_samples

    def figures(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing goes from step to step."""


def gradients_of(settings: Settings, model: Trainee, batches: Batches) -> Gradients:
    """Those of the whole model, by sample where each is to be protected."""
    privacy = settings.privacy
    if privacy is None or not privacy.is_of_samples:
        return WholeBatch(model, batches)
    return BySample(model, batches, privacy)


class LocalTraining:
    """Steps with clipped gradients; a step whose loss or gradient is not finite is skipped and counted."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: Trainee,
        gradients: Gradients,
        *,
        schedule: Schedule = STEADY,
    ) -> None:
        self._settings, self._peer, self._seed, self._schedule = settings, peer, seed, schedule
        self._model, self._gradients = model, gradients
        self._named = dict(model.trainables())
        self._parameters = list(self._named.values())
        self._max_norm = settings.norm_limit or math.inf
        self.restart()

    def restart(self) -> None:
        """Forget the moments: they belong to a state that is no longer there."""
        self.optimizer = optimizer_of(self._settings, self._parameters)

    def run(self, round: int, frozen: frozenset[str] = frozenset()) -> StepResult:
        """The steps of one round, in which ``frozen`` tensors rest. Their moments go: when they are trained again,
        what is beside them will have moved."""
        for name in frozen:
            self.optimizer.state.pop(self._named[name], None)
        with self._resting(frozen):
            return self._steps(round)

    @contextmanager
    def _resting(self, frozen: frozenset[str]) -> Iterator[None]:
        for name in frozen:
            self._named[name].requires_grad = False
        try:
            yield
        finally:
            for name in frozen:
                self._named[name].requires_grad = True

    def _steps(self, round: int) -> StepResult:
        self._model.train(mode=True)
        rates = self._rates(round)
        self.optimizer.begin_round(sum(rates))
        losses: list[float] = []
        num_samples = 0
        for step, rate in enumerate(rates, round * len(rates)):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(dropout_seed(self._seed, self._peer, step))
            loss, count = self._step(step)
            losses.append(loss)
            num_samples += count
        finite = [loss for loss in losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(finite) / len(finite) if finite else math.nan,
            num_samples=num_samples,
            num_nonfinite_steps=len(losses) - len(finite),
            num_steps=len(finite),
            metrics=self._gradients.figures(),
        )

    def _rates(self, round: int) -> list[float]:
        """Learning rates of the round's steps."""
        rate, count = self._settings.rate, self._settings.local_steps
        return [rate * self._schedule.factor(round, step, count) for step in range(count)]

    def _step(self, step: int) -> tuple[float, int]:
        """One optimizer step; its mean loss per sample, NaN if it was skipped, and its samples."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, num_samples = self._gradients.accumulate(step)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        if not (math.isfinite(loss) and torch.isfinite(norm)):
            return math.nan, num_samples
        self.optimizer.step()
        return loss, num_samples

    def state_dict(self) -> dict[str, Any]:
        """Of optimizer and gradients."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "gradients": self._gradients.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._gradients.load_state_dict(state["gradients"])
