"""Sites and scores for D2FT's schedulers, and what a table is worth by trying them all."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from haversack_trainer.methods.d2ft.cost import FORWARD, FULL, SKIP, Costs, Ops
from haversack_trainer.methods.d2ft.kinds import Solver, Ties
from haversack_trainer.methods.d2ft.knapsack import Values
from haversack_trainer.methods.d2ft.needs import Needs
from haversack_trainer.methods.d2ft.planner import Planner, Worth
from haversack_trainer.methods.d2ft.site import Site, capacities, place

RHOS = (1 / 2, 1 / 3, 0.4)
rhos = st.sampled_from(RHOS)


def a_site(
    layers: int,
    groups: int,
    micro: int,
    *,
    budget: float = 0.6,
    rho: float = 0.5,
    speeds: tuple[int, ...] | None = None,
) -> Site:
    """With a device for each subnet where no speeds are given."""
    count = layers * groups
    fast = speeds or (1,) * count
    where = tuple(range(count)) if speeds is None else place([1.0] * count, fast)
    costs = Costs.of(rho)
    room = capacities(budget, costs, where, fast, micro)
    return Site(layers, groups, micro, costs, where, room, fast)


def a_planner(
    site: Site,
    needs: Needs | None = None,
    solver: Solver = Solver.EXACT,
    ties: Ties = Ties.ROTATE,
    full_share: float = 0.8,
) -> Planner:
    return Planner(site, needs or Needs(), solver, ties, full_share=full_share)


def flat(site: Site) -> Worth:
    """All cells alike."""
    shape = site.num_subnets, site.num_micro_batches
    return Worth(np.ones(shape), np.ones(shape))


def drawn(site: Site, seed: int) -> Worth:
    generator = np.random.default_rng(seed)
    shape = site.num_subnets, site.num_micro_batches
    return Worth(generator.random(shape), generator.random(shape))


def idle(site: Site, steps: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.full(site.num_subnets, steps)


def values(count: int) -> st.SearchStrategy[Values]:
    return arrays(np.float64, count, elements=st.integers(0, 20).map(float))


def best_of_all(full: Values, forward: Values, costs: Costs, capacity: int, least: Ops) -> float:
    """By trying every choice; -inf where there is none."""
    best = -np.inf
    for ops in product((SKIP, FORWARD, FULL), repeat=len(full)):
        spent = sum((0, costs.forward, costs.full)[op] for op in ops)
        if spent <= capacity and all(op >= low for op, low in zip(ops, least, strict=True)):
            worth = ((0.0, forward[n], full[n])[op] for n, op in enumerate(ops))
            best = max(best, sum(worth))
    return best
