"""The devices that subnets are dealt over, and what each may spend in a step. Pure.

A peer is one process; its devices are those that the table is balanced for, one for each subnet unless the job
says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .cost import Costs, Ops, imbalance

LEAST_GAIN: Final = 0.001
"""For which a subnet is moved."""


@dataclass(frozen=True, slots=True)
class Site:
    """Subnets, micro-batches and devices."""

    num_layers: int
    num_groups: int
    num_micro_batches: int
    costs: Costs
    where: tuple[int, ...]
    """Device of each subnet."""
    capacities: tuple[int, ...]
    """Of each device, in units of ``costs``."""
    speeds: tuple[int, ...]

    @property
    def num_subnets(self) -> int:
        return self.num_layers * self.num_groups

    def subnets(self, device: int) -> list[int]:
        """Those of a device, ascending."""
        return [subnet for subnet, at in enumerate(self.where) if at == device]

    def loads(self, ops: Ops) -> NDArray[np.int64]:
        """Units of each device."""
        return np.bincount(self.where, self.costs.loads(ops), len(self.speeds)).astype(np.int64)

    def imbalance(self, ops: Ops) -> float:
        """How much longer the slowest device takes than the mean."""
        return imbalance(self.loads(ops).tolist(), self.speeds)


def place(weights: Sequence[float], speeds: Sequence[int]) -> tuple[int, ...]:
    """A device for each subnet, so that all devices take about equally long: the heaviest first to where it ends
    soonest, then moves and swaps as long as they shorten the longest."""
    where = [0] * len(weights)
    loads = [0.0] * len(speeds)
    for subnet in sorted(range(len(weights)), key=lambda k: (-weights[k], k)):
        where[subnet] = min(
            range(len(speeds)), key=lambda d: ((loads[d] + weights[subnet]) / speeds[d], d)
        )
        loads[where[subnet]] += weights[subnet]
    while _improve(where, loads, weights, speeds):
        pass
    return tuple(where)


def _improve(
    where: list[int], loads: list[float], weights: Sequence[float], speeds: Sequence[int]
) -> bool:
    """Take something from the device that takes longest, for something lighter of another or for nothing, if both
    are then done sooner than it was."""
    slow = max(range(len(speeds)), key=lambda d: loads[d] / speeds[d])
    limit = loads[slow] / speeds[slow] * (1 - LEAST_GAIN)
    for given in (k for k, d in enumerate(where) if d == slow):
        for device in (d for d in range(len(speeds)) if d != slow):
            for taken in (None, *(k for k, d in enumerate(where) if d == device)):
                moved = weights[given] - (0.0 if taken is None else weights[taken])
                ends = (
                    (loads[slow] - moved) / speeds[slow],
                    (loads[device] + moved) / speeds[device],
                )
                if moved > 0 and max(ends) < limit:
                    where[given] = device
                    if taken is not None:
                        where[taken] = slow
                    loads[slow] -= moved
                    loads[device] += moved
                    return True
    return False


def capacities(
    budget: float, costs: Costs, where: Sequence[int], speeds: Sequence[int], num_micro_batches: int
) -> tuple[int, ...]:
    """Units of each device, ``budget`` being the share of all work that is to be done: in proportion to the speeds,
    so that all end together, and no more than a device has to do; what it cannot use goes to the others."""
    most = np.bincount(where, minlength=len(speeds)) * num_micro_batches * float(costs.full)
    left, found = budget * float(most.sum()), np.zeros(len(speeds))
    open_ = most > 0
    while open_.any():
        shares = np.where(open_, speeds, 0) / np.asarray(speeds)[open_].sum() * left
        over = open_ & (shares >= most - 1e-9)
        if not over.any():
            found[open_] = shares[open_]
            break
        found[over] = most[over]
        left, open_ = left - float(most[over].sum()), open_ & ~over
    return tuple(int(value + 1e-6) for value in found)
