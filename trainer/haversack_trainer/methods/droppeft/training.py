"""A peer's local steps: AdamW on its own data, each micro-batch without the layers that were drawn for it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haversack_trainer.blocks import LayerExecutor, OpTable
from haversack_trainer.contract.schedule import Schedule
from haversack_trainer.method import Batches, LayeredTrainee
from haversack_trainer.privacy.samples import SampleGradients

from .federation import Parts
from .masks import Mask, draw
from .rates import Rates
from .settings import Rescale, Reward, Settings


@dataclass(frozen=True, slots=True)
class LocalRound:
    """What a round's local steps came to."""

    losses: tuple[float, ...]
    """Of each step, NaN where it was skipped."""
    num_samples: int
    """Of the steps that were made."""
    active: tuple[int, ...]
    """Of each layer, the steps made in which it ran."""
    importance: tuple[float, ...]
    """Mean gradient norm of each layer over its active steps; 0 where it had none."""
    mean_depth: float
    """Layers that ran, averaged over the micro-batches."""
    planned: tuple[int, ...]
    """As ``active``, but by the masks alone, which say nothing of the data."""
    num_planned_samples: int
    """Of all steps, made or not."""

    @property
    def steps(self) -> int:
        """Steps that were made."""
        return sum(map(math.isfinite, self.losses))


class LocalTraining:
    """Each round has an optimizer of its own: its moments would belong to layers that are no longer there."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: LayeredTrainee,
        batches: Batches,
        *,
        executor: LayerExecutor,
        parts: Parts,
        schedule: Schedule,
    ) -> None:
        self._settings, self._schedule, self._key = settings, schedule, (seed, peer)
        self._model, self._batches, self._executor, self._parts = model, batches, executor, parts
        named = model.trainables()
        self._parameters = [parameter for name, parameter in named if name not in parts.still]
        privacy = settings.privacy
        self._by_sample = None
        if privacy is not None and privacy.is_of_samples:
            self._by_sample = SampleGradients(self._parameters, privacy)
        self._still = [parameter for name, parameter in named if name in parts.still]
        self._by_layer: list[list[nn.Parameter]] = [[] for _ in range(parts.num_layers)]
        for name, parameter in named:
            if name not in parts.still and (layer := parts.layer_of[name]) is not None:
                self._by_layer[layer].append(parameter)
        self._max_norm = float(settings.max_grad_norm) or math.inf

    def run(self, round: int, rates: Rates) -> LocalRound:
        """The steps of one round."""
        for parameter in self._still:
            parameter.requires_grad = False
        try:
            return self._run(round, rates)
        finally:
            for parameter in self._still:
                parameter.requires_grad = True

    def _run(self, round: int, rates: Rates) -> LocalRound:
        self._model.train(mode=True)
        optimizer = torch.optim.AdamW(
            self._parameters,
            weight_decay=float(self._settings.weight_decay),
        )
        first, count = round * self._settings.local_steps, self._settings.local_steps
        losses, num_samples, depths, num_planned = [], 0, list[int](), 0
        planned = np.zeros(self._parts.num_layers, np.int64)
        norms = np.zeros((count, self._parts.num_layers))
        for number in range(count):
            batch = self._batches.micro_batches(first + number)
            masks = self._masks(round, number, len(batch), rates)
            depths += [int((~mask).sum()) for mask in masks]
            planned += ~np.all(masks, axis=0)
            num_planned += sum(micro.num_samples for micro in batch)
            for group in optimizer.param_groups:
                group["lr"] = self._rate(round, number)
            torch.manual_seed(_dropout_seed(*self._key, first + number))
            loss, norms[number] = self._step(optimizer, batch, masks, rates)
            losses.append(loss)
            if math.isfinite(loss):
                num_samples += sum(micro.num_samples for micro in batch)
        made = norms[np.isfinite(losses)]
        active = (~np.isnan(made)).sum(axis=0)
        importance = np.nansum(made, axis=0) / np.maximum(1, active)
        return LocalRound(
            tuple(losses),
            num_samples,
            tuple(active.tolist()),
            tuple(importance.tolist()),
            sum(depths) / len(depths),
            tuple(planned.tolist()),
            num_planned,
        )

    @torch.no_grad()
    def figure(self, round: int) -> float:
        """What ``reward`` looks at, over the batches that follow the round's own, all layers on: accuracy, or
        the loss with its sign turned, so that more is better. NaN where the model has no accuracy."""
        self._model.train(mode=False)
        first = (round + 1) * self._settings.local_steps
        total, num_samples = 0.0, 0
        for step in range(first, first + self._settings.probe_steps):
            for micro in self._batches.micro_batches(step):
                losses, hits = self._model.losses(micro)
                if self._settings.reward is Reward.LOSS_RATE:
                    total -= float(losses.sum())
                else:
                    total += math.nan if hits is None else float(hits.sum())
                num_samples += len(losses)
        return total / num_samples

    def _rate(self, round: int, step: int) -> float:
        factor = self._schedule.factor(round, step, self._settings.local_steps)
        return float(self._settings.learning_rate) * factor

    def _masks(self, round: int, step: int, count: int, rates: Rates) -> list[Mask]:
        adapted, sampler = self._parts.adapted, self._settings.sampler
        keys = [(*self._key, round, step, micro) for micro in range(count)]
        return [draw(rates, adapted, sampler, key) for key in keys]

    def _step(
        self,
        optimizer: torch.optim.Optimizer,
        batch: Sequence[Any],
        masks: Sequence[Mask],
        rates: Rates,
    ) -> tuple[float, NDArray[np.float64]]:
        """One optimizer step; its mean loss per sample, NaN if it was skipped, and each layer's gradient
        norm, NaN where it was not active."""
        # A dropped layer's gradient must be absent: with zeros AdamW would move it by its old moments.
        optimizer.zero_grad(set_to_none=True)
        loss = self._accumulate(batch, masks, rates)
        norms = np.array([_norm(parameters) for parameters in self._by_layer])
        whole = torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        if not (math.isfinite(loss) and torch.isfinite(whole)):
            return math.nan, norms
        optimizer.step()
        return loss, norms

    def _accumulate(self, batch: Sequence[Any], masks: Sequence[Mask], rates: Rates) -> float:
        """Gradients of the mean over all samples, however they are cut into micro-batches."""
        num_samples = sum(micro.num_samples for micro in batch)
        total, scales, table = 0.0, self._scales(rates), OpTable.dropping(masks)
        for number, micro in enumerate(batch):
            with self._executor.under(table.layers(number), scales):
                if self._by_sample is not None:
                    for sample in micro.samples():
                        self._by_sample.add(self._model.sample_losses(sample))
                    continue
                loss: Tensor = self._model.loss(micro) * (micro.num_samples / num_samples)
                loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            total += float(loss.detach())
        if self._by_sample is not None:
            self._by_sample.blur(num_samples)
        return total

    def _scales(self, rates: Rates) -> list[float] | None:
        if self._settings.rescale is Rescale.NONE:
            return None
        return [1 / (1 - rate) for rate in rates]


def _norm(parameters: Sequence[nn.Parameter]) -> float:
    """L2 norm of a layer's gradient; NaN where there is none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return math.nan
    return float(torch.nn.utils.get_total_norm(gradients))


def _dropout_seed(seed: int, peer: int, step: int) -> int:
    """So that a step repeats after a resume, and no two peers drop the same units."""
    digest = hashlib.sha256(f"dropout/{seed}/{peer}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little")
