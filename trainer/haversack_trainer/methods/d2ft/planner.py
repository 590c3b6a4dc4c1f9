"""From scores to the table of a step. Pure: a function of scores, idle times and the step's number."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import knapsack
from .cost import FULL, Infeasible, Ops
from .kinds import Solver, Ties
from .knapsack import Values
from .needs import Needs
from .site import Site

_GRID: Final = 2.0**-30
"""Sums of a million multiples of it, each about 1, are exact."""


class Worth(NamedTuple):
    """Of each subnet on each micro-batch, ``[K, N]``."""

    backward: Values
    forward: Values
    weight: float = 1.0
    """Of the backward scores."""

    @property
    def full(self) -> Values:
        """Of running it in full; running it forward only is worth ``forward``."""
        return self.weight * self.backward + self.forward

    def rounded(self) -> Worth:
        """To values whose sums do not hang on their order: what is worth the same stays worth the same."""
        weighted = np.round(self.weight * self.backward / _GRID) * _GRID
        return Worth(weighted, np.round(self.forward / _GRID) * _GRID)


@dataclass(frozen=True, slots=True)
class Planner:
    """How tables are made."""

    site: Site
    needs: Needs
    solver: Solver
    ties: Ties
    slots: tuple[int, int] = (0, 0)
    """Micro-batches in full and forward only (Slots only)."""
    full_share: float = 1.0
    """Of the capacity, for what runs in full (TwoStage only)."""

    def table(self, worth: Worth, idle: NDArray[np.int64], step: int) -> Ops:
        """The operations of a step, ``[K, N]``; ``idle``: the steps since each subnet last ran in full. Raises
        ``Infeasible``."""
        due, worth = self.needs.due(self.site, idle), worth.rounded()
        with suppress(Infeasible):
            best = self._solve(worth, self.needs.least(self.site), step)
            if self.needs.hold(self.site, best, due):
                return best
        return self._solve(worth, self.needs.reserved(self.site, worth.full, due), step)

    def check(self) -> None:
        """Raises ``Infeasible`` if there may be a step without a table."""
        self.needs.check(self.site)

    def _solve(self, worth: Worth, least: Ops, step: int) -> Ops:
        ops = np.zeros_like(least)
        for device, capacity in enumerate(self.site.capacities):
            rows, columns = self._items(self.site.subnets(device), step)
            given = worth.backward[rows, columns], worth.forward[rows, columns]
            ops[rows, columns] = self._device(
                Worth(*given, worth.weight), least[rows, columns], capacity
            )
        return ops

    def _items(self, subnets: list[int], step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A device's cells. What is worth the same is taken in their order, so each subnet begins at a
        micro-batch of its own: otherwise all would train on the same ones."""
        count = self.site.num_micro_batches
        rows, columns = np.repeat(subnets, count), np.tile(np.arange(count), len(subnets))
        if self.ties is Ties.ROTATE:
            columns = (columns + rows + step) % count
        return rows, columns

    def _device(self, worth: Worth, least: Ops, capacity: int) -> Ops:
        if self.solver is Solver.SLOTS:
            return knapsack.slots(worth.full, worth.forward, *self.slots, least)
        costs = self.site.costs
        if self.solver is Solver.TWO_STAGE:
            return knapsack.two_stage(
                worth.backward, worth.forward, costs, capacity, least, share=self.full_share
            )
        return knapsack.exact(worth.full, worth.forward, costs, capacity, least)


def idle_after(idle: NDArray[np.int64], ops: Ops) -> NDArray[np.int64]:
    """Steps since each subnet last ran in full, one step later."""
    return np.where((ops == FULL).any(axis=1), 0, idle + 1)
