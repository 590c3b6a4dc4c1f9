"""``assign``: the whole of placement in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from haversack_operator.snapshot import Amounts, Assignment, Node

from . import exact, greedy
from .bound import bounds
from .demand import Demand
from .explain import homeless, shortfall
from .milp import Limits
from .order import crossings, in_order
from .plan import Infeasible, Level, Objective, Plan
from .problem import NOTHING_HELD, Ints, Problem, Score, build

BEST_FIT: Final = "best-fit and local search"
HIGHS: Final = "HiGHS"
DEFAULT_LIMITS: Final = Limits()
MAX_HOMES: Final = 8
"""Nodes that are tried for the hub."""


@dataclass(frozen=True, slots=True)
class Found:
    """The solvers' answer, before peers have numbers."""

    counts: Ints
    bounds: Score
    solver: str
    impossible: bool = False
    """It is proven that nothing satisfies the gang."""


def assign(
    demand: Demand,
    nodes: Sequence[Node],
    keep: Sequence[Assignment] = (),
    held: Mapping[int, Amounts] = NOTHING_HELD,
    limits: Limits = DEFAULT_LIMITS,
) -> Plan | Infeasible:
    """A place and a micro-batch for as many peers as fit, and at least for the gang's minimum.

    Peers in ``keep`` stay where they are and as they are, unless their node is not in ``nodes``;
    what they use must not be in the nodes' ``used``. It is what ``held`` says by peer, where that
    is known, and else what the demand asks for such a peer now. The order of ``nodes`` makes no difference.
    """
    if not nodes:
        return Infeasible("there is no node", (), proven=True)
    problem, found = _with_a_hub(demand, nodes, keep, held, limits)
    if demand.hub is not None and problem.hub_node is None:
        return Infeasible(
            "no node has room for the hub", (homeless(problem, demand.hub),), proven=True
        )
    reasons = shortfall(problem, found.counts)
    if not problem.satisfies_gang(found.counts):
        return Infeasible(_why(problem, found), reasons, proven=found.impossible)
    assignments = in_order(problem, found.counts)
    return Plan(
        assignments, _levels(problem, found, assignments), found.solver, reasons, problem.hub_node
    )


def _with_a_hub(
    demand: Demand,
    nodes: Sequence[Node],
    keep: Sequence[Assignment],
    held: Mapping[int, Amounts],
    limits: Limits,
) -> tuple[Problem, Found]:
    """With the hub where it is best; if the gang has no place then, with the hub elsewhere. For one
    kind of peers the best is the best; what mixed peers lose together is more than each kind loses."""
    first = build(demand, nodes, keep, held)
    best = _solve(first, limits)
    if demand.hub is None or len(demand.kinds) == 1 or first.satisfies_gang(best.counts):
        return first, best
    impossible = best.impossible
    for turn in range(1, MAX_HOMES):
        problem = build(demand, nodes, keep, held, turn)
        if problem.hub_node is None:
            return first, replace(best, impossible=impossible)
        found = _solve(problem, limits)
        if problem.satisfies_gang(found.counts):
            return problem, found
        impossible = impossible and found.impossible
    return first, replace(best, impossible=False)


def _solve(problem: Problem, limits: Limits) -> Found:
    """Best-fit and local search; the integer program where that is not proven to be the best."""
    start = greedy.solve(problem)
    feasible = problem.satisfies_gang(start)
    reached = greedy.score(problem, start)
    known = bounds(problem, int(start.sum()))
    most = int(problem.want.sum()) - known.left_out
    impossible = most < max(problem.total_floor, int(problem.floor.sum()))
    if (feasible and reached == known) or impossible or not problem.capacity.any():
        return Found(start, known, BEST_FIT, impossible=impossible or not feasible)
    solved = exact.solve(problem, start if feasible else None, known, limits)
    if solved.counts is None:
        return Found(start, known, HIGHS, impossible=solved.bounds is None)
    return Found(solved.counts, solved.bounds or known, HIGHS)


def _levels(
    problem: Problem, found: Found, assignments: tuple[Assignment, ...]
) -> tuple[Level, ...]:
    value = greedy.score(problem, found.counts)
    crossed = crossings(problem, assignments)
    bound = found.bounds
    if crossed != value.crossings:
        # Kept peers stand in the way of the best order, so what was proven given it does not hold.
        bound = Score(
            bound.left_out, bound.crossings, *bounds(problem, int(found.counts.sum()))[2:]
        )
    num_placed = len(assignments)
    return (
        Level(Objective.PEERS, num_placed, num_placed + value.left_out - bound.left_out),
        Level(Objective.CROSSINGS, crossed, bound.crossings),
        Level(Objective.STRANDED, value.stranded_mebibytes, bound.stranded_mebibytes),
        Level(Objective.COST, value.cost, bound.cost),
        Level(Objective.HALVINGS, value.halvings, bound.halvings),
    )


def _why(problem: Problem, found: Found) -> str:
    demand = problem.demand
    placed = len(problem.kept) + int(found.counts.sum())
    wanted = sum(kind.replicas for kind in demand.kinds)
    minimum = max(demand.min_peers, sum(kind.min for kind in demand.kinds))
    doubt = "" if found.impossible else " (none better was found)"
    return (
        f"{placed} of {wanted} peers can be placed together{doubt}; "
        f"the job needs {minimum}, with each pool's minimum"
    )
