"""D2FT's method with a toy model and toy data, and rounds of several."""

from __future__ import annotations

from typing import Any

import torch
from grouped_toys import GroupedToy, PieceBatches
from toys import ToyNetwork

from haversack_trainer.methods.d2ft.ground import executor_of, groups_of, planner_of
from haversack_trainer.methods.d2ft.method import d2ft
from haversack_trainer.methods.d2ft.scoring import Scorer
from haversack_trainer.methods.d2ft.settings import Settings
from haversack_trainer.methods.d2ft.training import Scheduled

SEED = 17


def settings_of(gossip: dict[str, Any] | None = None, **more: Any) -> Settings:
    inside = {"local_steps": 3, "learning_rate": "0.01"} | (gossip or {})
    return Settings.model_validate({"gossip": inside, **more})


def ticking() -> Any:
    """A clock by which every look takes a second."""
    ticks = iter(range(10**6))
    return lambda: float(next(ticks))


class Peer:
    """A method with its model at hand."""

    def __init__(
        self,
        peer: int,
        *,
        model: GroupedToy | None = None,
        data: int | None = None,
        **settings: Any,
    ) -> None:
        self.model = model or GroupedToy()
        batches = PieceBatches(peer if data is None else data)
        self.method = d2ft(
            settings_of(**settings), peer, SEED, self.model, batches, clock=ticking()
        )

    def vector(self) -> torch.Tensor:
        return torch.cat([t.reshape(-1) for t in self.model.trainable_state().values()]).double()


def gradients(model: GroupedToy, batches: PieceBatches, **settings: Any) -> Scheduled:
    """What makes a step's gradient, by itself."""
    return scheduled_by(settings_of(**settings), model, batches)


def scheduled_by(settings: Settings, model: GroupedToy, batches: PieceBatches) -> Scheduled:
    groups = groups_of(settings, model)
    planner = planner_of(settings, model, batches, groups, ticking())
    scorer = Scorer(settings, model, executor_of(settings, model, groups, batches))
    return Scheduled(settings, model, batches, planner, scorer)


def train(network: ToyNetwork, peers: dict[int, Peer], rounds: range) -> None:
    for number in rounds:
        network.run({me: peer.method for me, peer in peers.items()}, number)
