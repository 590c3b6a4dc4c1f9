"""The measuring half of SPSA: losses around the present point, and the scalars that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from haversack_trainer.method import Batches, Trainee

from .directions import Directions, Term
from .settings import Differences, Settings
from .share import ALONE, Share
from .vector import ParameterVector
from .words import key


@dataclass(frozen=True, slots=True)
class Measured:
    """What the directions of one batch gave."""

    slopes: Tensor
    """``[directions, samples]`` fp64: each sample's difference quotient along each direction."""
    losses: Tensor
    """fp64: mean losses in the middle of what was compared."""
    num_samples: int
    """Of this process, where those of a pod share out a batch."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """Measures the directions of a round, on a peer's own data."""

    settings: Settings
    peer: int
    seed: int
    model: Trainee
    batches: Batches
    vector: ParameterVector
    directions: Directions
    share: Share = ALONE

    @property
    def _epsilon(self) -> float:
        return 2.0**-self.settings.epsilon_log2

    @torch.no_grad()
    def measure(self, round: int) -> Iterator[Measured]:
        """In order of direction. The parameters are afterwards what they were, bit by bit."""
        self.model.train(mode=False)
        origin = self.vector.copy()
        try:
            for step, indices in self._plan(round):
                keys = [key(self.seed, round, self.peer, index) for index in indices]
                yield self._differences(origin, round, keys, self.batches.micro_batches(step))
        finally:
            self.vector.write(origin)

    def _plan(self, round: int) -> list[tuple[int, range]]:
        """The batches of a round by number, and which directions are tried on each."""
        count = self.settings.directions
        if self.settings.shared_batch:
            return [(round, range(count))]
        return [(round * count + index, range(index, index + 1)) for index in range(count)]

    def _differences(
        self, origin: Tensor, round: int, keys: Sequence[int], batch: Sequence[Any]
    ) -> Measured:
        above = [Term(z, self._epsilon, round) for z in keys]
        num_samples = sum(micro.num_samples for micro in batch)
        if self.settings.differences is Differences.ONE_SIDED:
            # A coefficient of 0 adds nothing: the middle itself.
            losses = self._losses(origin, [Term(keys[0], 0.0, round), *above], batch)
            middle, up = losses[:1], losses[1:]
            means = middle.mean(1).expand(len(keys))
            return Measured((up - middle) / self._epsilon, means, num_samples)
        below = [Term(z, -self._epsilon, round) for z in keys]
        points = [term for pair in zip(above, below, strict=True) for term in pair]
        losses = self._losses(origin, points, batch)
        up, down = losses[0::2], losses[1::2]
        slopes = (up - down) / (2 * self._epsilon)
        return Measured(slopes, (up + down).mean(1) / 2, num_samples)

    def _losses(self, origin: Tensor, points: Sequence[Term], batch: Sequence[Any]) -> Tensor:
        """Loss of each sample at ``origin + term`` for each of the points, ``[points, samples]`` in fp64."""
        size = self.settings.points_per_pass
        groups = (points[start : start + size] for start in range(0, len(points), size))
        own = torch.cat([self._pass(origin, group, batch) for group in groups]).double().cpu()
        return self.share.together(own)

    def _pass(self, origin: Tensor, points: Sequence[Term], batch: Sequence[Any]) -> Tensor:
        if len(points) == 1:
            self.vector.place(origin, self.directions, points)
            losses = [self.model.sample_losses(micro)[: micro.num_samples] for micro in batch]
            return torch.cat(losses)[None]
        stacked = origin.repeat(len(points), 1)
        for row, term in zip(stacked, points, strict=True):
            for start, end in self.directions.pieces(origin.device):
                self.directions.add(row[start:end], start, [term])
        found = [self.model.losses_at(stacked, micro)[:, : micro.num_samples] for micro in batch]
        return torch.cat(found, dim=1)
