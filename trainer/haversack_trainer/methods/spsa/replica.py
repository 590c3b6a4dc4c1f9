"""The state that SPSA's log leads to. No data, no loss: anybody with the base model and the log can have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import torch
from torch import Tensor

from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Trainee

from .directions import Directions, Signs
from .lowrank import LowRank
from .normals import Normals
from .settings import RANK, REFRESH_ROUNDS, Distribution, Settings
from .update import update_of
from .vector import ParameterVector

REPLAYED_AT_A_TIME: Final = 256
"""Rounds whose updates are in memory while a piece of the vector goes through them."""


class Replica:
    """The trainables, and the velocity if there is momentum, as a function of the closed rounds."""

    def __init__(
        self, settings: Settings, seed: int, model: Trainee, schedule: Schedule = STEADY
    ) -> None:
        self._settings, self._seed, self._schedule = settings, seed, schedule
        self.vector = ParameterVector([parameter for _, parameter in model.trainables()])
        self.directions = _directions(settings, seed, model)
        self._velocity = self._at_rest()

    def replay(self, history: Iterable[ClosedRound]) -> None:
        """Go through rounds that closed one after the other."""
        rounds = iter(history)
        while some := list(islice(rounds, REPLAYED_AT_A_TIME)):
            self.apply(some)

    def apply(self, history: Sequence[ClosedRound]) -> int:
        """Piece by piece, each through all rounds: the vector is read and written once. Returns how many
        directions were applied."""
        updates = [
            update_of(closed, self._seed, self._settings, self._schedule.factor(closed.round))
            for closed in history
        ]
        for start, theta, velocity in self._pieces():
            for update in updates:
                update.apply(theta, start, self.directions, velocity)
        return sum(len(update.terms) for update in updates)

    def _pieces(self) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        for start, theta in self.vector.pieces(self.directions):
            yield (
                start,
                theta,
                None if self._velocity is None else self._velocity[start : start + theta.numel()],
            )

    def state_dict(self) -> dict[str, Any]:
        """The velocity, if there is momentum; the parameters and the log are all else there is."""
        return {} if self._velocity is None else {"velocity": self._velocity.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        if self._velocity is not None:
            self._velocity.copy_(state["velocity"])

    def _at_rest(self) -> Tensor | None:
        if not float(self._settings.momentum):
            return None
        return torch.zeros(self.vector.numel, device=self.vector.device)


def _directions(settings: Settings, seed: int, model: Trainee) -> Directions:
    shapes = [parameter.shape for _, parameter in model.trainables()]
    numel = sum(shape.numel() for shape in shapes)
    match settings.distribution:
        case Distribution.RADEMACHER:
            return Signs(numel)
        case Distribution.GAUSSIAN:
            return Normals(numel)
        case Distribution.LOW_RANK:
            rank, refresh = settings.rank or RANK, settings.refresh_rounds or REFRESH_ROUNDS
            return LowRank(shapes, seed, rank, refresh)
