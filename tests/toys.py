"""Small stand-ins for a method's model, data and network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor, nn

from haversack_trainer.exchange.base import Gone, Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.method import Method, StepResult


@dataclass(frozen=True)
class ToyBatch:
    """Features and targets, shapes (n, width) and (n, classes)."""

    inputs: Tensor
    targets: Tensor

    @property
    def num_samples(self) -> int:
        return len(self.inputs)

    def samples(self) -> Iterator[ToyBatch]:
        for at in range(len(self.inputs)):
            yield ToyBatch(self.inputs[at : at + 1], self.targets[at : at + 1])


class ToyModel:
    """``x + scale·B·A·x`` and a head, all from one seed, as a method sees it."""

    def __init__(self, *, width: int = 6, rank: int = 2, classes: int = 3, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * 0.3)

        self.lora_a, self.lora_b = draw(rank, width), draw(width, rank)
        self.head = draw(classes, width)
        self.training = True

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return [("layer.lora_A", self.lora_a), ("layer.lora_B", self.lora_b), ("head", self.head)]

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.trainables()}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainables():
                parameter.copy_(state[name])

    def sample_losses(self, batch: ToyBatch) -> Tensor:
        hidden = batch.inputs + batch.inputs @ self.lora_a.T @ self.lora_b.T
        return (hidden.tanh() @ self.head.T - batch.targets).square().mean(1)

    def loss(self, batch: ToyBatch) -> Tensor:
        return self.sample_losses(batch).mean()

    def losses_at(self, points: Tensor, batch: ToyBatch) -> Tensor:
        parameters = [parameter for _, parameter in self.trainables()]
        before = nn.utils.parameters_to_vector(parameters).detach().clone()
        rows = []
        for point in [*points, before]:
            nn.utils.vector_to_parameters(point, parameters)
            rows.append(self.sample_losses(batch))
        return torch.stack(rows[:-1])

    def figure(self, batch: ToyBatch) -> float:
        """The loss as a number."""
        return float(self.loss(batch).detach())

    def train(self, mode: bool) -> None:
        self.training = mode

    def digest(self) -> str:
        """Over the raw bytes of the state."""
        raw = b"".join(t.numpy().tobytes() for t in self.trainable_state().values())
        return hashlib.sha256(raw).hexdigest()


@dataclass
class ToyBatches:
    """Noisy samples of one linear map, other samples for each peer."""

    peer: int = 0
    seed: int = 0
    sizes: Sequence[int] = (4, 2)
    width: int = 6
    poisoned: Callable[[int], bool] = lambda _: False
    """Steps whose targets are NaN."""

    num_records: int = 60

    def micro_batches(self, step: int) -> list[ToyBatch]:
        generator = torch.Generator().manual_seed(hash((self.seed, self.peer, step)) & 0xFFFF_FFFF)
        truth = torch.randn(3, self.width, generator=torch.Generator().manual_seed(99))
        inputs = torch.randn(sum(self.sizes), self.width, generator=generator)
        targets = inputs @ truth.T * (float("nan") if self.poisoned(step) else 1.0)
        ends = list(accumulate(self.sizes))
        return [
            ToyBatch(inputs[end - size : end], targets[end - size : end])
            for size, end in zip(self.sizes, ends, strict=True)
        ]


@dataclass
class ToyNetwork:
    """Closes rounds on the spot and keeps them, with their blobs and a ledger of bytes."""

    history: list[ClosedRound] = field(default_factory=list)
    blobs: dict[tuple[int, int], bytes] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    lost: set[tuple[int, int]] = field(default_factory=set)
    """Round and peer of blobs that nobody has."""

    def close(self, round: int, outgoing: Mapping[int, Outgoing]) -> ClosedRound:
        """The round that these payloads make."""
        members = tuple(sorted(outgoing))
        for peer, out in outgoing.items():
            if out.blob is not None:
                self.blobs[round, peer] = out.blob
        payloads = tuple(Payload(p, _body(outgoing[p]), outgoing[p].aux) for p in members)
        closed = ClosedRound(round, members, payloads, position=len(self.history) + 1)
        self.history.append(closed)
        return closed

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        if (closed.round, peer) in self.lost:
            raise Gone(f"the blob of peer {peer} for round {closed.round} is gone")
        return self.blobs[closed.round, peer]

    def swap(self, closed: ClosedRound, me: int) -> Swap:
        """The round as ``me`` sees it."""

        def fetch(peer: int) -> bytes:
            blob = self.fetch(closed, peer)
            self.received[me] = self.received.get(me, 0) + len(blob)
            return blob

        return Swap(closed, me, fetch)

    def run(self, methods: Mapping[int, Method], round: int) -> dict[int, StepResult]:
        """One whole round of everybody."""
        results = {peer: method.local_step(round) for peer, method in methods.items()}
        closed = self.close(round, {p: method.outgoing() for p, method in methods.items()})
        for peer, method in methods.items():
            method.incoming(self.swap(closed, peer))
        return results


def _body(out: Outgoing) -> bytes:
    return out.body if out.blob is None else out.body + hashlib.sha256(out.blob).digest()
