"""What a round costs beyond its compute: publishing, waiting for the log, fetching blobs, taking in.

Four peers are threads of one process; over HTTP the hub is a process of its own, with mutual TLS and its log
synced to disk. The adapter has as many weights as LoRA of rank 8 on query and value of MiniLM with a head of
six classes. Peers meet at a barrier after their local steps, so nobody's slower step counts as overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, Final

import torch
from bench.figures import spread, write
from bench.hub_client import hub_doors
from bench.memory_log import in_memory, never, start
from torch import Tensor, nn

from haversack_trainer.contract.cards import METHODS, MethodCard
from haversack_trainer.exchange.base import Exchange

NUM_PEERS: Final = 4
WARM_UP: Final = 3
ROUNDS: Final = 30
WIDTH: Final = 384
SHAPES: Final = {
    **{f"layer.{n}.lora_A": (8, WIDTH) for n in range(12)},
    **{f"layer.{n}.lora_B": (WIDTH, 8) for n in range(12)},
    "classifier": (6, WIDTH),
}


@dataclass(frozen=True)
class Nothing:
    """A batch without content."""

    num_samples: int = 1


class Batches:
    num_records = 1

    def micro_batches(self, _step: int) -> Sequence[Nothing]:
        return [Nothing()]


class Weights:
    """Trainables of the right sizes under a loss that costs next to nothing."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(17)
        self._parameters = {
            name: nn.Parameter(torch.randn(*shape, generator=generator))
            for name, shape in SHAPES.items()
        }

        pairs = [list(self._parameters.values())[n:24:12] for n in range(12)]
        self.network = nn.Module()
        self.network.layers = nn.ModuleList(map(nn.ParameterList, pairs))

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return list(self._parameters.items())

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._parameters.items()}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[name])

    def loss(self, _batch: Nothing) -> Tensor:
        return torch.stack([p.square().mean() for p in self._parameters.values()]).sum()

    def sample_losses(self, batch: Nothing) -> Tensor:
        return self.loss(batch)[None]

    def losses_at(self, points: Tensor, _batch: Nothing) -> Tensor:
        return points.square().mean(1, keepdim=True)

    def train(self, mode: bool) -> None:
        """No dropout here."""


@dataclass
class Bench:
    """One peer's loop, without what surrounds a round."""

    card: MethodCard
    exchange: Exchange
    barrier: Barrier
    local: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)

    def run(self) -> None:
        settings = self.card.load_settings()()
        method = self.card.load_factory()(settings, self.exchange.me, 17, Weights(), Batches())
        for number in range(WARM_UP + ROUNDS):
            begin = time.perf_counter()
            method.local_step(number)
            stepped = time.perf_counter()
            self.barrier.wait()
            met = time.perf_counter()
            self.exchange.publish(number, method.outgoing(), never)
            method.incoming(self.exchange.collect(number, never))
            self.local.append(1000 * (stepped - begin))
            self.beyond.append(1000 * (time.perf_counter() - met))
            self.barrier.wait()


@contextmanager
def memory() -> Iterator[Callable[[int], Exchange]]:
    yield in_memory()


@contextmanager
def http() -> Iterator[Callable[[int], Exchange]]:
    with hub_doors(NUM_PEERS) as (_, door):
        yield door


def measure(card: MethodCard, connect: Callable[[int], Exchange]) -> dict[str, Any]:
    barrier = Barrier(NUM_PEERS, timeout=60)
    benches = [Bench(card, connect(peer), barrier) for peer in range(NUM_PEERS)]
    start([bench.exchange for bench in benches])
    with ThreadPoolExecutor(NUM_PEERS) as pool:
        for done in [pool.submit(bench.run) for bench in benches]:
            done.result()
    rounds = WARM_UP + ROUNDS
    return {
        "local_step_ms": spread([max(b.local[n] for b in benches) for n in range(WARM_UP, rounds)]),
        "beyond_ms": spread([max(b.beyond[n] for b in benches) for n in range(WARM_UP, rounds)]),
        "bytes_sent_per_peer_and_round": round(
            sum(b.exchange.bytes_sent for b in benches) / NUM_PEERS / rounds
        ),
    }


def main() -> None:
    torch.set_num_threads(1)
    figures: dict[str, Any] = {
        "peers": NUM_PEERS,
        "trainable_parameters": sum(a * b for a, b in SHAPES.values()),
    }
    for name, card in METHODS.items():
        if name == "D2FT":
            continue  # a client of Dec-LoRA; it needs a real transformer for its local steps alone
        for transport in (memory, http):
            with transport() as connect:
                figures[f"{name} over {transport.__name__}"] = measure(card, connect)
    write("round_overhead", figures)


if __name__ == "__main__":
    main()
