"""What must run whatever the scores say: gradients that reach all depths, no subnet that starves. Pure.

What must run is reserved before the rest of the capacity is given away by value, so that the outcome is the best
table beside it; where the best table of all happens to keep to it, nothing is reserved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .cost import FORWARD, FULL, Infeasible, Ops
from .knapsack import Values
from .site import Site

Subnets = NDArray[np.bool_]
_NO_ROOM: Final = (
    "budget: has no room for minActive groups of every layer in full on each micro-batch, and every group within "
    "maxIdleSteps; raise it, or lower minActive or raise maxIdleSteps"
)


@dataclass(frozen=True, slots=True)
class Needs:
    """The side constraints."""

    min_active: int = 0
    """Groups of each layer that run in full on every micro-batch."""
    max_idle_steps: int = 0
    """Every subnet runs in full at least once in so many steps; 0: or never."""
    protected: frozenset[int] = field(default_factory=frozenset)
    """Layers that are never skipped."""

    def least(self, site: Site) -> Ops:
        """The cheapest operation that each cell may have."""
        least = np.zeros((site.num_subnets, site.num_micro_batches), np.int8)
        for layer in self.protected:
            least[layer * site.num_groups : (layer + 1) * site.num_groups] = FORWARD
        return least

    def due(self, site: Site, idle: NDArray[np.int64]) -> Subnets:
        """Subnets that must run in full now, ``idle`` being the steps since each last did: on each device the
        longest idle ones, as few as let all others be in time, too."""
        found = np.zeros(site.num_subnets, bool)
        if not self.max_idle_steps:
            return found
        for device in range(len(site.speeds)):
            waiting = sorted(site.subnets(device), key=lambda k: (-idle[k], k))
            quota = -(-len(waiting) // self.max_idle_steps)
            spare = [self.max_idle_steps - 1 - idle[k] - n // quota for n, k in enumerate(waiting)]
            if spare and min(spare) <= 0:
                found[waiting[:quota]] = True
        return found

    def hold(self, site: Site, ops: Ops, due: Subnets) -> bool:
        """Whether a table keeps to them."""
        full = (ops == FULL).reshape(site.num_layers, site.num_groups, -1)
        return bool(
            (ops >= self.least(site)).all()
            and (full.sum(axis=1) >= self.min_active).all()
            and (ops[due] == FULL).any(axis=1).all()
        )

    def reserved(self, site: Site, values: Values, due: Subnets) -> Ops:
        """``least`` with what must run in full, ``[K, N]``: the most valuable cells if there is room for them, else
        those of the devices with most room left. Raises ``Infeasible``."""
        try:
            return self._reserve(site, due, values)
        except Infeasible:
            return self._reserve(site, due, None)

    def check(self, site: Site) -> None:
        """Raises ``Infeasible`` unless ``reserved`` succeeds whatever the scores and whoever is due."""
        least = self._reserve(site, np.zeros(site.num_subnets, bool), None)
        left = np.array(site.capacities) - site.loads(least)
        starving = np.bincount(site.where, ~(least == FULL).any(axis=1), len(left))
        if self.max_idle_steps:
            quotas = -(-np.bincount(site.where, minlength=len(left)) // self.max_idle_steps)
            if (left < np.minimum(quotas, starving) * site.costs.full).any():
                raise Infeasible(_NO_ROOM)

    def _reserve(self, site: Site, due: Subnets, values: Values | None) -> Ops:
        least = self.least(site)
        room = _Room(site, least)
        if self.min_active > site.num_groups:
            raise Infeasible(
                f"minActive: a layer has {site.num_groups} groups only; write at most so many"
            )
        for cell in range(site.num_layers * site.num_micro_batches):
            layer, micro = divmod(cell, site.num_micro_batches)
            for _ in range(self.min_active):
                room.give(_of_layer(site, layer), (micro,), values, micro)
        for subnet in np.flatnonzero(due & ~(room.least == FULL).any(axis=1)):
            room.give((int(subnet),), tuple(range(site.num_micro_batches)), values, int(subnet))
        return room.least


def _of_layer(site: Site, layer: int) -> tuple[int, ...]:
    return tuple(range(layer * site.num_groups, (layer + 1) * site.num_groups))


class _Room:
    """The table as it fills up, and what each device has left."""

    def __init__(self, site: Site, least: Ops) -> None:
        self._site, self.least = site, least
        self._left = np.array(site.capacities) - site.loads(least)
        if (self._left < 0).any():
            raise Infeasible(
                "protect: the budget has no room to run these layers on every micro-batch; raise budget or "
                "protect fewer"
            )

    def give(
        self, subnets: tuple[int, ...], micros: tuple[int, ...], values: Values | None, turn: int
    ) -> None:
        """One more cell among these runs in full."""
        costs, best = self._site.costs, None
        for subnet in subnets:
            left = self._left[self._site.where[subnet]]
            for micro in micros:
                now = self.least[subnet, micro]
                price = costs.full - (costs.forward if now == FORWARD else 0)
                if now == FULL or price > left:
                    continue
                worth = left if values is None else values[subnet, micro]
                rank = (worth, -((subnet + micro - turn) % self._site.num_groups))
                if best is None or rank > best[0]:
                    best = rank, subnet, micro, price
        if best is None:
            raise Infeasible(_NO_ROOM)
        _, subnet, micro, price = best
        self.least[subnet, micro] = FULL
        self._left[self._site.where[subnet]] -= price
