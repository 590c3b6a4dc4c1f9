"""Dec-LoRA's method with a toy model and toy data, and rounds of several."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.base import ExchangeError, Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound, Late, Payload
from haversack_trainer.exchange.payload import blob_digest, body_of
from haversack_trainer.methods.declora.kinds import Graph
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.settings import Settings

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


class Untimely:
    """Rounds that a deadline closes; blobs by their digest, as a hub keeps them."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.waiting: list[Late] = []

    def close(
        self, round: int, outgoing: Mapping[int, Outgoing], missed: tuple[int, ...]
    ) -> ClosedRound:
        """With what came late since the last one closed."""
        members = tuple(sorted(set(outgoing) - set(missed)))
        payloads = tuple(self._payload(peer, outgoing[peer]) for peer in members)
        late, self.waiting = tuple(self.waiting), []
        for peer in sorted(set(missed) & set(outgoing)):
            self.waiting.append(Late(round, self._payload(peer, outgoing[peer])))
        return ClosedRound(round, members, payloads, round + 1, missed, late)

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        digest = blob_digest(closed, peer)
        if digest not in self.blobs:
            raise ExchangeError("gone")
        return self.blobs[digest]

    def swap(self, closed: ClosedRound, me: int) -> Swap:
        return Swap(closed, me, lambda peer: self.fetch(closed, peer))

    def _payload(self, peer: int, out: Outgoing) -> Payload:
        if out.blob is not None:
            self.blobs[hashlib.sha256(out.blob).hexdigest()] = out.blob
        return Payload(peer, body_of(out), out.aux)
