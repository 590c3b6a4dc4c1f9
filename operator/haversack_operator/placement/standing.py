"""What an earlier plan is worth now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from haversack_operator.snapshot import Amounts, Assignment, Node

from .demand import Demand
from .problem import build


def still_fits(
    demand: Demand,
    nodes: Sequence[Node],
    keep: Sequence[Assignment],
    held: Mapping[int, Amounts],
    rows: Sequence[Assignment],
) -> bool:
    """Whether ``rows`` of an earlier plan can be had beside the kept peers, as they stand there."""
    if not rows:
        return True
    if not nodes:
        return False
    problem = build(demand, nodes, keep, held)
    if demand.hub is not None and problem.hub_node is None:
        return False
    kind_of = {peer: k for k, kind in enumerate(demand.kinds) for peer in kind.peers}
    column = {room.node.name: n for n, room in enumerate(problem.rooms)}
    counts = np.zeros_like(problem.capacity)
    for row in rows:
        at = kind_of.get(row.peer, -1), column.get(row.node, -1)
        choice = problem.choice.get(at)
        if choice is None or choice.micro_batch_size != row.micro_batch_size:
            return False
        if demand.kinds[at[0]].pool != row.pool:
            return False
        counts[at] += 1
    return bool((problem.left(counts) >= 0).all())


def hub_node(
    demand: Demand,
    nodes: Sequence[Node],
    keep: Sequence[Assignment],
    held: Mapping[int, Amounts],
) -> str | None:
    """Where the hub has room beside the kept peers, if it needs any."""
    if demand.hub is None or not nodes:
        return None
    return build(demand, nodes, keep, held).hub_node
