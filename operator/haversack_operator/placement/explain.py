"""Why peers are left out, in words and per pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from haversack_operator.api.names import NODE_ACCELERATOR_MEMORY
from haversack_operator.api.quantity import format_bytes, format_millis

from .demand import PeerKind
from .fit import Misfit, Obstacle, Room, misfits
from .problem import Ints, Problem

MAX_NAMED: Final = 3
"""Values or peers that a sentence names one by one."""


def shortfall(problem: Problem, counts: Ints) -> tuple[str, ...]:
    """A sentence for each pool that has fewer peers than it wants, and one on what the hub takes."""
    placed = counts.sum(axis=1)
    pools = tuple(
        sentence(kind, problem.rooms, int(kind.replicas - problem.want[k] + placed[k]))
        for k, kind in enumerate(problem.demand.kinds)
        if placed[k] < problem.want[k]
    )
    hub = problem.demand.hub
    if not pools or hub is None or not problem.hub_instead:
        return pools
    taken = f"{format_bytes(hub.memory_bytes)} of memory and {format_millis(hub.cpu_millis)} CPU"
    return (*pools, f"the hub takes {taken} of node {problem.hub_node}")


def homeless(problem: Problem, hub: PeerKind) -> str:
    """Why no node has room for the hub."""
    return f"the hub: {_obstacles(hub, problem.rooms)}"


def sentence(kind: PeerKind, rooms: Sequence[Room], placed: int) -> str:
    """``pool edge: 1 of 4 peers placed: 1 of 20 nodes fits and is full; 4 fit but for memory …``."""
    wanted = _count(kind.replicas, "peer")
    return f"pool {kind.pool}: {placed} of {wanted} placed: {_obstacles(kind, rooms)}"


def _obstacles(kind: PeerKind, rooms: Sequence[Room]) -> str:
    obstacles = [misfits(kind, room) for room in rooms]
    nearly: dict[Obstacle, list[Misfit]] = defaultdict(list)
    others: dict[Obstacle, list[Misfit]] = defaultdict(list)
    for found in filter(None, obstacles):
        first = found[0]
        (nearly if len(found) == 1 and first.obstacle in _AMOUNTS else others)[
            first.obstacle
        ].append(first)
    parts = [_fitting(obstacles.count(()), len(rooms))]
    parts += [_but_for(nearly[one]) for one in Obstacle if nearly[one]]
    parts += [f"{len(others[one])} {_phrase(others[one])}" for one in Obstacle if others[one]]
    return "; ".join(parts)


def _fitting(fitting: int, total: int) -> str:
    if not fitting:
        return f"none of {_count(total, 'node')} fits"
    verb = "fits and is" if fitting == 1 else "fit and are"
    return f"{fitting} of {_count(total, 'node')} {verb} full"


def _but_for(found: Sequence[Misfit]) -> str:
    """These nodes lack one amount only, so they tell what to change."""
    verb = "fits" if len(found) == 1 else "fit"
    return f"{len(found)} {verb} but for {_AMOUNTS[found[0].obstacle]} ({_amounts(found)})"


def _phrase(found: Sequence[Misfit]) -> str:
    """These nodes lack more; the most fundamental thing stands for all."""
    obstacle, want, one = found[0].obstacle, found[0].want, len(found) == 1
    if obstacle in _AMOUNTS:
        return f"{'lacks' if one else 'lack'} {_AMOUNTS[obstacle]} ({_amounts(found)})"
    values = sorted({str(one.have) for one in found})
    named = ", ".join(values[:MAX_NAMED]) + (", …" if len(values) > MAX_NAMED else "")
    verb = "is" if one else "are"
    return {
        Obstacle.NOT_READY: f"{verb} not ready",
        Obstacle.CLOSED: f"{verb} closed to new peers ({named})",
        Obstacle.ARCHITECTURE: f"{verb} of another architecture ({named}; {want} asked)",
        Obstacle.SELECTOR: f"{'does' if one else 'do'} not have the label {want}",
        Obstacle.TAINT: f"{verb} tainted {named}",
        Obstacle.DEVICE_MEMORY_UNKNOWN: (
            f"{verb} without a label that tells the accelerator's memory "
            f"({NODE_ACCELERATOR_MEMORY})"
        ),
    }[obstacle]


def _amounts(found: Sequence[Misfit]) -> str:
    """The best of them beside what is asked."""
    best = max(found, key=lambda one: int(one.have))
    in_words = _UNITS.get(best.obstacle, format_bytes)
    at_most = "at most " if len({one.have for one in found}) > 1 else ""
    return f"{at_most}{in_words(int(best.have))} free, {in_words(int(best.want))} asked"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_AMOUNTS: Final = {
    Obstacle.DEVICES: "devices",
    Obstacle.DEVICE_MEMORY: "accelerator memory",
    Obstacle.MICRO_BATCH: "memory for a step with the smallest micro-batch",
    Obstacle.CPU: "cpu",
    Obstacle.MEMORY: "memory",
}
_UNITS: Final[dict[Obstacle, Callable[[int], str]]] = {
    Obstacle.DEVICES: str,
    Obstacle.CPU: format_millis,
}
