"""Peers of DropPEFT with toy models, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from layered_toys import LayeredToy
from toys import ToyBatches, ToyNetwork

from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.settings import Settings

SEED = 17
NUM_LAYERS = 4
PER_LAYER = 2 * 6 * 2
HEAD = 6 * 3


def never(_: int) -> bool:
    return False


class Peer:
    """A method with its model at hand."""

    def __init__(
        self,
        peer: int,
        *,
        data: int | None = None,
        poisoned: Callable[[int], bool] = never,
        sizes: Sequence[int] = (4, 2),
        num_layers: int = NUM_LAYERS,
        **settings: Any,
    ) -> None:
        self.model = LayeredToy(num_layers)
        self.seconds = 0.0
        chosen = {"local_steps": 3, "learning_rate": "0.01", "protect": "First"} | settings
        batches = ToyBatches(peer if data is None else data, sizes=sizes, poisoned=poisoned)
        self.method = DropPeft(
            Settings(**chosen), peer, SEED, self.model, batches, clock=self._tick
        )

    def _tick(self) -> float:
        """Looking at the clock takes a second: nothing here depends on the machine."""
        self.seconds += 1
        return self.seconds

    def head(self) -> torch.Tensor:
        return self.model.trainable_state()["head.weight"]


def train(network: ToyNetwork, peers: dict[int, Peer], rounds: range) -> None:
    for number in rounds:
        network.run({me: peer.method for me, peer in peers.items()}, number)


def digests(peers: dict[int, Peer]) -> set[str]:
    return {peer.model.digest() for peer in peers.values()}
