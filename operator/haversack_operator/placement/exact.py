"""One integer program per objective, in their order, each held to the results of those before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import group, spread
from .milp import INFINITY, Limits
from .problem import Ints, Problem, Score
from .program import Program, formulate


@dataclass(frozen=True, slots=True)
class Solved:
    """What could be found and proven within the limits."""

    counts: Ints | None
    """The best solution that satisfies the gang, if any was found."""
    bounds: Score | None
    """Per objective, given ``counts``' values in those before; None: proven that there is none."""


def solve(problem: Problem, start: Ints | None, known: Score, limits: Limits) -> Solved:
    """From ``start``, a solution that satisfies the gang, if there is one. ``known`` are valid bounds
    that spare proofs.

    Nodes that are alike are one class at first. Where a class's peers cannot be spread over its
    nodes, these nodes are taken apart and the program is solved again; so it ends.
    """
    apart: set[int] = set()
    while True:
        program = formulate(problem, group(problem, apart))
        values, bounds = _by_objective(program, start, known, limits)
        if values is None:
            return Solved(None, bounds)
        counts, torn = _unpack(program, values)
        if not torn:
            return Solved(counts, bounds)
        apart |= torn


def _by_objective(
    program: Program, start: Ints | None, known: Score, limits: Limits
) -> tuple[Ints | None, Score | None]:
    """The columns' values and the bounds."""
    problem, model = program.problem, program.model
    values = None if start is None else program.start(start)
    offsets = _offsets(problem)
    bounds: list[int] = []
    for cost, offset, easy in zip(program.costs, offsets, known, strict=True):
        bound = easy
        if values is None or int(cost @ values) + offset > easy:
            outcome = model.minimise(cost, values, limits)
            if outcome.values is None:
                return None, None if outcome.infeasible else known
            values, bound = outcome.values, max(easy, outcome.bound + offset)
        value = int(cost @ values)
        bounds.append(min(bound, value + offset))
        if len(columns := np.flatnonzero(cost)):
            model.add(columns, cost[columns], -INFINITY, float(value))
    return values, Score(*bounds)


def _offsets(problem: Problem) -> Score:
    """What is to be added to the program's objectives to make them a ``Score``."""
    zoned = len(problem.zones) > 1
    return Score(
        left_out=int(problem.want.sum()),
        crossings=-1 if zoned and not problem.demand.ring else 0,
        stranded_mebibytes=0,
        cost=0,
        halvings=0,
    )


def _unpack(program: Program, values: Ints) -> tuple[Ints, set[int]]:
    """Counts by node, and the nodes of classes whose peers could not be spread."""
    counts = np.zeros_like(program.problem.capacity)
    torn: set[int] = set()
    for nodes, totals in zip(program.classes, program.totals(values), strict=True):
        single = spread(program.problem, nodes, totals)
        if single is None:
            torn.update(nodes.tolist())
        else:
            counts[:, nodes] = single
    return counts, torn
