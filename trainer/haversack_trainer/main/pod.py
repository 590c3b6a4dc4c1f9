"""One process of a pod that shares its model out: the first is the run's peer, the others follow it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from haversack_trainer.config import PeerConfig
from haversack_trainer.method import Batches, Method
from haversack_trainer.pod.batches import NoBatches, PodBatches
from haversack_trainer.pod.method import LedMethod, method_actions
from haversack_trainer.pod.model import LedModel, model_actions
from haversack_trainer.pod.team import Team, follow
from haversack_trainer.sharding import World

from .material import Material

MakeMethod = Callable[[Batches], Method]


def join(config: PeerConfig) -> World | None:
    """Meet the pod's other processes; None where there are none."""
    if config.meeting is None or config.processes is None:
        return None
    return World.join(config.process, config.processes, config.meeting)


def lead(
    world: World,
    material: Material,
    make: MakeMethod,
    own: Batches,
    attend: Callable[[Batches], Batches],
    *,
    common: Collection[str],
) -> tuple[Any, Method]:
    """Model and method as the loop sees them on the first process."""
    method, led = make(PodBatches(world, own, attend(NoBatches()))), LedMethod()
    actions = model_actions(material.model, world.rank) | method_actions(world, method, led, common)
    team = Team(world, actions)
    led.lead(team)
    return LedModel(material.model, team), led


def follow_first(
    world: World,
    material: Material,
    make: MakeMethod,
    own: Batches,
    common: Collection[str],
) -> None:
    """Every other process, until the first one says that it is the end. Raises ``LeaderGone``."""
    method = make(PodBatches(world, own))
    actions = method_actions(world, method, common=common)
    follow(world, model_actions(material.model, world.rank) | actions)
