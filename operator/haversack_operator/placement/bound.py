"""How good any plan could be: cheap relaxations, each valid without those before it.

- *Left out*: per kind the sum of what single nodes could hold, and per resource a fractional
  knapsack over all nodes.
- *Crossings*: the fewest zones whose summed room is enough, per kind and overall.
- *Waste*: every peer on the least wasteful place that its kind has left, kinds not competing.
"""

from __future__ import annotations

import numpy as np

from .problem import Bools, Ints, Problem, Score


def bounds(problem: Problem, num_placed: int | None = None) -> Score:
    """No solution is better in the first objective; none that places ``num_placed`` peers
    (default: as many as the first bound allows) is better in any of the others."""
    most = _most_peers(problem)
    num_placed = most if num_placed is None else num_placed
    stranded, cost, halvings = (_least_waste(problem, one, num_placed) for one in problem.waste)
    return Score(
        left_out=int(problem.want.sum()) - most,
        crossings=_fewest_crossings(problem, num_placed),
        stranded_mebibytes=stranded,
        cost=cost,
        halvings=halvings,
    )


def _most_peers(problem: Problem) -> int:
    most = np.minimum(problem.want, problem.capacity.sum(axis=1))
    useful = (problem.capacity > 0).any(axis=0)
    least_need = np.where(problem.capacity[..., None] > 0, problem.need, np.iinfo(np.int64).max)
    totals = [int(most.sum())]
    for r in range(problem.free.shape[1]):
        have = int(problem.free[useful, r].sum())
        totals.append(_knapsack(have, least_need[..., r].min(axis=1), most))
    return min(totals)


def _knapsack(have: int, need: Ints, most: Ints) -> int:
    """Most items of kinds with ``need`` each, at most ``most`` of them, in one bin."""
    total = 0
    for k in np.argsort(need, kind="stable").tolist():
        amount, available = int(need[k]), int(most[k])
        fits = min(available, have // amount) if amount else available
        total, have = total + fits, have - fits * amount
    return total


def _fewest_crossings(problem: Problem, num_placed: int) -> int:
    num_zones = len(problem.zones)
    by_zone = np.stack(
        [np.bincount(problem.zone_of, row, num_zones) for row in problem.capacity]
    ).astype(np.int64)
    by_zone = np.minimum(by_zone, problem.want[:, None])
    kept = problem.kept_zones
    overall = _fewest_zones(by_zone.sum(axis=0), np.asarray(kept.any(axis=0)), num_placed)
    if not problem.demand.ring:
        return max(0, overall - 1)
    # Each kind misses at most the peers that are left out in all.
    missing = int(problem.want.sum()) - num_placed
    turns = sum(
        max(0, _fewest_zones(row, kept[k], int(problem.want[k]) - missing) - 1)
        for k, row in enumerate(by_zone)
    )
    return max(turns, overall if overall > 1 else 0)


def _fewest_zones(room: Ints, taken: Bools, wanted: int) -> int:
    """Zones in use when ``wanted`` peers are added to the zones that are ``taken`` anyway."""
    missing, used = wanted - int(room[taken].sum()), int(taken.sum())
    for size in sorted(room[~taken].tolist(), reverse=True):
        if missing <= 0:
            break
        missing, used = missing - size, used + 1
    return used


def _least_waste(problem: Problem, waste: Ints, num_placed: int) -> int:
    """The cheapest ``num_placed`` places, of each kind at most as many as it wants."""
    prices: list[Ints] = []
    for k, want in enumerate(problem.want):
        slots = np.repeat(waste[k], problem.capacity[k])
        prices.append(np.sort(slots)[:want])
    return int(np.sort(np.concatenate(prices))[:num_placed].sum())
