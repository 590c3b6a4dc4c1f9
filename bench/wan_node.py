"""A node's rounds as the loop makes them, without what surrounds them: over a log in memory, to see what it learns, or over
the real hub with mutual TLS behind an emulated line, to see how long a step takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from bench.figures import spread
from bench.hub_client import hub_doors
from bench.memory_log import Door, never, start
from bench.small_lm import SEED
from bench.wan import Link
from bench.wan_tasks import NUM_NODES, Task

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.exchange.base import Exchange
from haversack_trainer.method import Method

TIMED: Final = 3
WARM_UP: Final = 1


@dataclass
class Node:
    """One peer."""

    exchange: Exchange
    method: Method
    model: Any
    seconds: list[float] = field(default_factory=list)
    """Of each round."""
    local_seconds: list[float] = field(default_factory=list)
    """Of each round, until its payload was there to be sent."""

    def send(self, number: int) -> None:
        begin = time.perf_counter()
        self.method.local_step(number)
        outgoing = self.method.outgoing()
        _synchronise()
        self.local_seconds.append(time.perf_counter() - begin)
        self.exchange.publish(number, outgoing, never)

    def receive(self, number: int) -> None:
        self.method.incoming(self.exchange.collect(number, never))
        _synchronise()

    def timed_rounds(self, count: int) -> None:
        """On its own, as the others do at the same time."""
        for number in range(count):
            begin = time.perf_counter()
            self.send(number)
            if number + 1 < count:
                self.method.ahead(number + 1)
            self.receive(number)
            self.seconds.append(time.perf_counter() - begin)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def nodes_of(task: Task, settings: Mapping[str, Any], door: Door) -> list[Node]:
    """All nodes at their start, the run begun."""
    card = METHODS["FlexDeMo"]
    chosen = card.load_settings().model_validate({"checksumEvery": 10, **settings})
    nodes = []
    for peer in range(NUM_NODES):
        model, batches = task.node(peer)
        method = card.load_factory()(chosen, peer, SEED, model, batches)
        nodes.append(Node(door(peer), method, model))
    start([node.exchange for node in nodes])
    return nodes


def in_turns(nodes: Sequence[Node], number: int, *, is_last: bool) -> None:
    """A round. Not at the same time: dropout of all models draws from the process's one generator."""
    for node in nodes:
        node.send(number)
    if not is_last:
        for node in nodes:
            node.method.ahead(number + 1)
    for node in nodes:
        node.receive(number)


def timing(task: Task, settings: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Seconds of a step over the line, and of its compute alone."""
    with hub_doors(NUM_NODES, link) as (_, door), ThreadPoolExecutor(NUM_NODES) as pool:
        nodes = nodes_of(task, settings, door)
        for done in [pool.submit(node.timed_rounds, WARM_UP + TIMED) for node in nodes]:
            done.result()
    slowest = [max(pair) for pair in zip(*(n.seconds[WARM_UP:] for n in nodes), strict=True)]
    local = [seconds for node in nodes for seconds in node.local_seconds[WARM_UP:]]
    return {"seconds_a_step": spread(slowest, 4), "compute_seconds_a_step": spread(local, 4)}
