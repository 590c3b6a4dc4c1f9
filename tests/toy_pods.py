"""Pods of two processes in threads, with queues in place of a process group, and a toy model shared out by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Queue
from threading import Thread
from typing import Any, cast

import torch
from torch import Tensor, nn
from toys import ToyBatch, ToyBatches, ToyModel

from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Settings
from haversack_trainer.pod.batches import NoBatches, PodBatches
from haversack_trainer.pod.method import LedMethod, method_actions
from haversack_trainer.pod.team import Team, dismissing, follow
from haversack_trainer.sharding import Gradient, World
from haversack_trainer.sharding.gradient import accumulate, clip, outcome

SEED = 17


@dataclass
class Wires:
    """From the first process to the second, and back."""

    down: Queue[Any] = field(default_factory=Queue)
    up: Queue[Any] = field(default_factory=Queue)


@dataclass
class OfTwo:
    """A ``World`` of two, in threads."""

    rank: int
    wires: Wires
    size: int = 2

    def broadcast(self, value: Any = None) -> Any:
        if self.rank == 0:
            self.wires.down.put(value)
            return value
        found = self.wires.down.get(timeout=10)
        if found is RuntimeError:
            raise RuntimeError("connection closed by peer")
        return found

    def gather(self, value: Any) -> list[Any]:
        mine, theirs = (
            (self.wires.down, self.wires.up) if self.rank == 0 else (self.wires.up, self.wires.down)
        )
        mine.put(value)
        both = [value, theirs.get(timeout=10)]
        return both if self.rank == 0 else both[::-1]

    def sums(self, *values: float) -> list[float]:
        return [sum(pair) for pair in zip(*self.gather(values), strict=True)]


class ToyShards:
    """``Shards``: each process has all weights and looks after one half of them."""

    def __init__(self, model: ToyModel, world: World) -> None:
        self.world, self._model = world, model
        self._parameters = [parameter for _, parameter in model.trainables()]
        self._own = self._half(nn.utils.parameters_to_vector(self._parameters).detach())

    def _half(self, whole: Tensor) -> Tensor:
        middle = len(whole) // 2
        return whole[middle:].clone() if self.world.rank else whole[:middle].clone()

    def partitions(self) -> list[Tensor]:
        return [self._own]

    def gradient(self, model: Any, batch: Sequence[ToyBatch], max_norm: float) -> Gradient:
        for parameter in self._parameters:
            parameter.grad = None
        loss, num_samples = accumulate(self.world, model, batch, lambda loss, _: loss.backward())  # type: ignore[no-untyped-call]  # torch does not annotate it
        gradients = [parameter.grad for parameter in self._parameters]
        whole = nn.utils.parameters_to_vector([g for g in gradients if g is not None])
        self._own.grad = self._half(sum(self.world.gather(whole)) / self.world.size)
        return outcome(loss, num_samples, is_finite=clip(self.world, [self._own], max_norm))

    @torch.no_grad()
    def updated(self) -> None:
        whole = torch.cat(self.world.gather(self._own.clone()))
        sizes = [parameter.numel() for parameter in self._parameters]
        for parameter, values in zip(self._parameters, torch.split(whole, sizes), strict=True):
            parameter.copy_(values.view_as(parameter))

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._model.trainables())

    def state(self) -> dict[str, Tensor]:
        return self._model.trainable_state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._model.load_trainable_state(state)
        self._own.copy_(self._half(nn.utils.parameters_to_vector(self._parameters).detach()))

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor


@dataclass
class OwnBatches:
    """A process's micro-batches of its peer's."""

    all: ToyBatches
    rank: int
    num_records: int = 60

    def micro_batches(self, step: int) -> list[ToyBatch]:
        return self.all.micro_batches(step)[self.rank :: 2]


class ToyPod:
    """FlexDeMo on a pod of two, led as the loop leads it."""

    def __init__(self, peer: int, settings: Settings) -> None:
        wires = Wires()
        worlds = [cast("World", OfTwo(rank, wires)) for rank in range(2)]
        self.models = [ToyModel() for _ in worlds]
        self.shards = [ToyShards(m, w) for m, w in zip(self.models, worlds, strict=True)]
        self.methods = [
            FlexDeMo(
                settings,
                peer,
                SEED,
                self.models[world.rank],
                PodBatches(
                    world,
                    OwnBatches(ToyBatches(peer), world.rank),
                    None if world.rank else NoBatches(),
                ),
                shards=self.shards[world.rank],
            )
            for world in worlds
        ]
        self.led, self._world = LedMethod(), worlds[0]
        actions = [
            method_actions(world, method, led) | {"settle": lambda world=world: world.gather(None)}
            for world, method, led in zip(worlds, self.methods, (self.led, None), strict=True)
        ]
        self._team = Team(worlds[0], actions[0])
        self.led.lead(self._team)
        self._thread = Thread(target=follow, args=(worlds[1], actions[1]), daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Until the second process, too, has done what was said."""
        self._team.do("settle")

    def twin(self, peer: int, settings: Settings) -> ToyPod:
        """Another pod in the same state."""
        other = ToyPod(peer, settings)
        for shards in other.shards:
            shards.load(self.models[0].trainable_state())
        other.led.load_state_dict(copy.deepcopy(self.led.state_dict()))
        other.settle()
        return other

    def momenta(self) -> list[Tensor]:
        """What each process has left to send."""
        engines: list[Any] = [method._engine for method in self.methods]
        states = [engine._optimizer.state.values() for engine in engines]
        return [state["momentum"].clone() for (state,) in states]

    def end(self) -> None:
        with dismissing(self._world):
            pass
        self._thread.join(10)
        assert not self._thread.is_alive()
