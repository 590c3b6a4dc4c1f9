"""What an SPSA step costs beyond its two forward passes, against MeZO's loop, in seconds of one core.

The forward pass is free here: a model that answers at once. MeZO is written from the paper's Algorithm 1: a
generator seeded anew draws z four times (three perturbations in place, one update), tensor by tensor. Ours
goes through the method as the loop calls it: ``local_step``, ``outgoing`` and ``incoming`` of a round with one
direction. The two are interleaved. Beside them stand the bytes that the round put on the wire.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from bench.figures import spread, write
from torch import Tensor, nn

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.base import Swap
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings

SIZES: Final = (1_000_000, 4_000_000, 10_000_000, 25_200_000)
TENSOR: Final = 1_000_000
"""Elements of each trainable tensor."""
WARM_UP: Final = 1
REPEATS: Final = 9
EPSILON: Final = 2.0**-7
RATE: Final = 1e-4


@dataclass(frozen=True)
class Nothing:
    """A batch without content."""

    num_samples: int = 1


class Batches:
    num_records = 1

    def micro_batches(self, _step: int) -> Sequence[Nothing]:
        return [Nothing()]


class Weights:
    """Trainables of some size under a loss that costs nothing and is never the same twice at two points."""

    def __init__(self, numel: int, device: str) -> None:
        generator = torch.Generator().manual_seed(17)
        sizes = [min(TENSOR, numel - start) for start in range(0, numel, TENSOR)]
        drawn = (torch.randn(size, generator=generator).to(device) for size in sizes)
        self.parameters = [nn.Parameter(values) for values in drawn]

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        return [(f"tensor.{index}", p) for index, p in enumerate(self.parameters)]

    def trainable_state(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.trainables()}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Not asked for here."""

    def loss(self, batch: Nothing) -> Tensor:
        return self.sample_losses(batch).mean()

    def sample_losses(self, _batch: Nothing) -> Tensor:
        return self.parameters[0].detach()[:1].clone()

    def losses_at(self, points: Tensor, _batch: Nothing) -> Tensor:
        return points[:, :1].clone()

    def train(self, mode: bool) -> None:
        """No dropout here."""


def mezo(weights: Weights) -> Callable[[int], None]:
    """One step of Malladi et al., arXiv 2305.17333, Algorithm 1, on the same tensors."""
    parameters = [p.detach() for p in weights.parameters]
    generator = torch.Generator(parameters[0].device)

    def perturb(seed: int, scale: float) -> None:
        generator.manual_seed(seed)
        for p in parameters:
            z = torch.normal(0.0, 1.0, p.shape, generator=generator, device=p.device)
            p.data = p.data + scale * z

    def step(seed: int) -> None:
        perturb(seed, EPSILON)
        above = float(weights.sample_losses(Nothing()))
        perturb(seed, -2 * EPSILON)
        below = float(weights.sample_losses(Nothing()))
        perturb(seed, EPSILON)
        slope = (above - below) / (2 * EPSILON)
        generator.manual_seed(seed)
        for p in parameters:
            z = torch.normal(0.0, 1.0, p.shape, generator=generator, device=p.device)
            p.data = p.data - RATE * (slope * z)

    return step


class Ours:
    def __init__(self, weights: Weights) -> None:
        settings = Settings(directions=1, learning_rate=f"{RATE:.10f}")
        self._method = Spsa(settings, 0, 17, weights, Batches())
        self.num_bytes = 0

    def step(self, number: int) -> None:
        self._method.local_step(number)
        out = self._method.outgoing()
        self.num_bytes = len(Record(Kind.PAYLOAD, 0, number, out.body, out.aux).encode())
        closed = ClosedRound(number, (0,), (Payload(0, out.body, out.aux),), number + 1)
        self._method.incoming(Swap(closed, 0, lambda _: b""))


def seconds(step: Callable[[int], None], number: int, device: str) -> float:
    """Of CPU time; on a device of wall-clock time, once all is done."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    step(number)
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def measure(numel: int, device: str) -> dict[str, Any]:
    theirs, ours = mezo(Weights(numel, device)), Ours(Weights(numel, device))
    taken: dict[str, list[float]] = {"mezo": [], "ours": []}
    for number in range(WARM_UP + REPEATS):
        for name, step in (("mezo", theirs), ("ours", ours.step)):
            spent = seconds(step, number, device)
            if number >= WARM_UP:
                taken[name].append(spent)
    return {
        "elements": numel,
        "mezo_s": spread(taken["mezo"], 4),
        "ours_s": spread(taken["ours"], 4),
        "bytes_sent": ours.num_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    figures = {
        "device": torch.cuda.get_device_name() if chosen.device == "cuda" else "one core",
        "steps": [measure(numel, chosen.device) for numel in chosen.sizes],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    write("spsa_step", figures, "" if chosen.device == "cpu" else f"_{chosen.device}")


if __name__ == "__main__":
    main()
