"""Dec-LoRA's method with a toy model and toy data, and rounds of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.settings import Graph, Settings

SEED = 17


def never(_: int) -> bool:
    return False


class Peer:
    """A method with its model at hand."""

    def __init__(
        self,
        peer: int,
        graph: Graph = Graph.RING,
        *,
        data: int | None = None,
        poisoned: Callable[[int], bool] = never,
        sizes: Sequence[int] = (4, 2),
        rate: str = "0.01",
        decay: str = "0",
        num_records: int = 1,
        **more: Any,
    ) -> None:
        self.model = ToyModel()
        settings = Settings(
            local_steps=3, learning_rate=rate, weight_decay=decay, graph=graph, **more
        )
        batches = ToyBatches(
            peer if data is None else data, sizes=sizes, poisoned=poisoned, num_records=num_records
        )
        self.method = DecLora(settings, peer, SEED, self.model, batches)

    def vector(self) -> torch.Tensor:
        return torch.cat([t.reshape(-1) for t in self.model.trainable_state().values()]).double()


def train(network: ToyNetwork, peers: dict[int, Peer], rounds: range) -> None:
    for number in rounds:
        network.run({me: peer.method for me, peer in peers.items()}, number)
