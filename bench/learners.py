"""Ways to learn with one model in one process, each a step at a time: ``spsa_learning`` compares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.data import Batches, Samples
from haversack_trainer.data.samples import Indices
from haversack_trainer.exchange.base import Swap
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.model import FineTuned

SEED: Final = 17
EPSILON_LOG2: Final = 7
SIDES: Final = 2
STEP_IN_FORWARDS: Final = 4
"""A backward pass costs as much as two forwards; four, not three, divides the arms' common budget."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all of them learn from."""

    model: FineTuned
    samples: Samples
    parts: tuple[Indices, ...]
    batch_size: int

    def batches(self, machine: int, num_machines: int) -> Batches:
        """The data of one of so many machines."""
        part = np.sort(np.concatenate(self.parts[machine::num_machines]))
        return Batches(
            self.model.encode,
            self.samples,
            part,
            batch_size=self.batch_size,
            micro_batch_size=self.batch_size,
            seed=SEED,
            peer=machine,
        )


class Learner(Protocol):
    """Moves the model's trainables."""

    forwards: int
    """Forward passes of a step."""

    def step(self, number: int) -> float:
        """Training loss of step ``number``, counted from the start."""

    def extra(self) -> dict[str, torch.Tensor]:
        """What it must know to go on, beyond the trainables and the number of the step."""

    def resume(self, extra: dict[str, torch.Tensor]) -> None:
        """Inverse of ``extra``; empty at the start."""


class Stateless:
    """A step is a function of its number and the trainables."""

    def extra(self) -> dict[str, torch.Tensor]:
        return {}

    def resume(self, extra: dict[str, torch.Tensor]) -> None:
        """Nothing to know."""


class Machines(Stateless):
    """SPSA on several machines, which share one copy of the weights. What each publishes goes through its
    bytes, and the round is applied once."""

    def __init__(self, setting: Setting, rate: str, num_machines: int) -> None:
        card = METHODS["SPSA"]
        settings = card.load_settings().model_validate(
            {
                "directions": 1,
                "learningRate": rate,
                "epsilonLog2": EPSILON_LOG2,
                "pointsPerPass": SIDES,
            }
        )
        factory = card.load_factory()
        self._machines: list[Any] = [
            factory(settings, m, SEED, setting.model, setting.batches(m, num_machines))
            for m in range(num_machines)
        ]
        self.forwards = SIDES * num_machines

    def step(self, number: int) -> float:
        losses = [machine.local_step(number).loss for machine in self._machines]
        sent = [machine.outgoing() for machine in self._machines]
        payloads = tuple(Payload(m, out.body, out.aux) for m, out in enumerate(sent))
        members = tuple(range(len(sent)))
        closed = ClosedRound(number, members, payloads, position=number + 1)
        self._machines[0].incoming(Swap(closed, 0, _nothing))
        return float(np.mean(losses))


def _nothing(peer: int) -> bytes:
    raise AssertionError(peer)  # SPSA has no blobs


class Mezo(Stateless):
    """Malladi et al., arXiv 2305.17333, Algorithm 1: z is drawn anew from its seed each of four times."""

    forwards = SIDES

    def __init__(self, setting: Setting, rate: float) -> None:
        self._model, self._rate = setting.model, rate
        self._batches = setting.batches(0, 1)
        self._parameters = [parameter for _, parameter in setting.model.trainables()]

    @torch.no_grad()
    def step(self, number: int) -> float:
        epsilon = 2.0**-EPSILON_LOG2
        (batch,) = self._batches.micro_batches(number)
        self._move(number, epsilon)
        above = float(self._model.loss(batch))
        self._move(number, -2 * epsilon)
        below = float(self._model.loss(batch))
        self._move(number, epsilon)
        self._move(number, -self._rate * (above - below) / (2 * epsilon))
        return (above + below) / 2

    def _move(self, seed: int, factor: float) -> None:
        device = self._parameters[0].device
        generator = torch.Generator(device).manual_seed(seed)
        for parameter in self._parameters:
            z = torch.randn(parameter.shape, generator=generator, device=device)
            parameter.add_(z, alpha=factor)


class AdamW:
    """First-order training of the same parameters, to see what they can reach."""

    forwards = STEP_IN_FORWARDS

    def __init__(self, setting: Setting, rate: float) -> None:
        self._model, self._batches = setting.model, setting.batches(0, 1)
        self._named = setting.model.trainables()
        self._optimizer = torch.optim.AdamW([p for _, p in self._named], lr=rate, weight_decay=0)

    def step(self, number: int) -> float:
        (batch,) = self._batches.micro_batches(number)
        self._optimizer.zero_grad()
        loss = self._model.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._optimizer.step()
        return float(loss.detach())

    def extra(self) -> dict[str, torch.Tensor]:
        return {
            f"{name} {key}": value.cpu()
            for name, parameter in self._named
            for key, value in self._optimizer.state[parameter].items()
        }

    def resume(self, extra: dict[str, torch.Tensor]) -> None:
        if extra:
            for name, parameter in self._named:
                self._optimizer.state[parameter] = {
                    key: extra[f"{name} {key}"].to(parameter.device if key != "step" else "cpu")
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }
