"""One device's knapsack: which operation for which item, an item being a subnet on a micro-batch. Pure.

Devices share no capacity and subnets stay where they are, so each device is scheduled by itself. ``least`` is the
cheapest operation that an item may have. Where several choices are worth the same, the order of the items decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cost import FORWARD, FULL, SKIP, Costs, Infeasible, Ops

Values = NDArray[np.float64]
_ORDER = np.array([FULL, FORWARD, SKIP], np.int8)


def exact(full: Values, forward: Values, costs: Costs, capacity: int, least: Ops) -> Ops:
    """The most valuable operations within ``capacity`` units: multiple-choice dynamic programming, O(n·capacity).
    Raises ``Infeasible``."""
    capacity = min(capacity, len(full) * costs.full)
    best = np.zeros(capacity + 1)
    choice = np.zeros((len(full), capacity + 1), np.int8)
    for item in range(len(full)):
        options = np.full((3, capacity + 1), -np.inf)
        worth = (full[item], forward[item], 0.0)
        for row, cost in enumerate((costs.full, costs.forward, 0)):
            if _ORDER[row] >= least[item] and cost <= capacity:
                options[row, cost:] = best[: capacity + 1 - cost] + worth[row]
        choice[item] = _ORDER[options.argmax(axis=0)]
        best = options.max(axis=0)
    if best[-1] == -np.inf:
        raise Infeasible("budget: has no room for what must run; raise it")
    return _traced(choice, costs, capacity)


def _traced(choice: Ops, costs: Costs, capacity: int) -> Ops:
    """The choices along the way back from the last item."""
    cost_of = (0, costs.forward, costs.full)
    ops, left = np.zeros(len(choice), np.int8), capacity
    for item in reversed(range(len(choice))):
        ops[item] = choice[item, left]
        left -= cost_of[ops[item]]
    return ops


def two_stage(
    backward: Values, forward: Values, costs: Costs, capacity: int, least: Ops, *, share: float
) -> Ops:
    """The paper's heuristic: what runs in full is chosen by its backward scores within ``share`` of the capacity,
    then what runs forward only by its forward scores. Raises ``Infeasible``."""
    cost_of = np.array([0, costs.forward, costs.full])
    ops = least.copy()
    left = capacity - int(cost_of[ops].sum())
    if left < 0:
        raise Infeasible("budget: has no room for what must run; raise it")
    spent = costs.full * int((ops == FULL).sum())
    open_ = np.flatnonzero(ops < FULL)
    raises = costs.full - cost_of[ops[open_]]
    chosen = open_[pick(backward[open_], raises, min(left, int(share * capacity) - spent))]
    left -= int((costs.full - cost_of[ops[chosen]]).sum())
    ops[chosen] = FULL
    idle = np.flatnonzero(ops == SKIP)
    ops[idle[pick(forward[idle], np.full(len(idle), costs.forward), left)]] = FORWARD
    return ops


def pick(values: Values, costs: NDArray[np.int64], capacity: int) -> NDArray[np.bool_]:
    """The most valuable items within ``capacity``: 0/1 dynamic programming, no values below 0."""
    capacity = max(0, min(capacity, int(costs.sum())))
    best = np.zeros(capacity + 1)
    taken = np.zeros((len(values), capacity + 1), bool)
    for item, (value, cost) in enumerate(zip(values, costs, strict=True)):
        if cost <= capacity:
            other = np.full(capacity + 1, -np.inf)
            other[cost:] = best[: capacity + 1 - cost] + value
            taken[item] = other >= best
            best = np.maximum(best, other)
    chosen, left = np.zeros(len(values), bool), capacity
    for item in reversed(range(len(values))):
        chosen[item] = taken[item, left]
        left -= int(costs[item]) if chosen[item] else 0
    return chosen


def slots(full: Values, forward: Values, num_full: int, num_forward: int, least: Ops) -> Ops:
    """So many micro-batches of one subnet in full and so many forward only, the most valuable ones. Raises
    ``Infeasible``."""
    ops = np.zeros(len(full), np.int8)
    must = least == FULL
    if must.sum() > num_full:
        raise Infeasible("slots.full: too few micro-batches for what must run in full; raise it")
    ops[np.argsort(-np.where(must, np.inf, full), kind="stable")[:num_full]] = FULL
    rest = np.where(ops == FULL, -np.inf, forward)
    ops[np.argsort(-rest, kind="stable")[:num_forward]] = FORWARD
    return ops
