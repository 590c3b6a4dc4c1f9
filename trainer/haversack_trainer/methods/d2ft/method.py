"""D2FT (Ding, Zhang, Wang, Ateniese, Yuan, arXiv 2504.12471) within a peer, Dec-LoRA between peers.

Each layer is cut into groups of heads with a slice of its feed-forward part, each step's batch into micro-batches.
A schedule says for every group and micro-batch whether it runs in full, forward only, or not at all, so that the most
valuable training is done within a budget. All groups run in evaluation. To the other peers this one is a client of
Dec-LoRA: what is sent, mixed, resumed and caught up with is as in ``declora``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from haversack_trainer.blocks.routes import Hosts
from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.method import LayeredTrainee, PiecewiseBatches
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.sharding import World
from haversack_trainer.sharding.groups.opening import open_other

from .ground import executor_of, groups_of, planner_of
from .pod import hosts_of, shared_out, try_out
from .scoring import Scorer
from .settings import Settings
from .training import Scheduled


def d2ft(
    settings: Settings,
    peer: int,
    seed: int,
    model: LayeredTrainee,
    batches: PiecewiseBatches,
    *,
    schedule: Schedule = STEADY,
    world: World | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> DecLora:
    """Dec-LoRA whose local steps get their gradients by schedule. ``world``: the pod's processes, of which this is
    the first and the others are ``served``. Raises ``Unsuited``."""
    groups = groups_of(settings, model)
    planner = planner_of(settings, model, batches, groups, clock)
    executor = executor_of(settings, model, groups, batches)
    scorer = Scorer(settings, model, executor)
    gradients = Scheduled(settings, model, batches, planner, scorer)
    if world is not None:
        hosts = hosts_of(settings, planner.site, world.size)
        scorer.executor = shared_out(model, executor, hosts, world)
        try_out(settings, model, batches, scorer.executor)
    return DecLora(
        settings.gossip,
        peer,
        seed,
        model,
        batches,
        schedule=schedule,
        gradients=gradients,
        field="method.d2FT.gossip",
    )


def served(
    settings: Settings, model: LayeredTrainee, world: World
) -> Mapping[str, Callable[..., Any]]:
    """What every other process of a pod does for the first one, by name. Raises ``Unsuited``."""
    groups = groups_of(settings, model)
    hosts: Hosts = world.broadcast()
    return open_other(model, groups, hosts, world)
