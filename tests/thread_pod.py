"""A pod whose processes are threads: a ``World`` and ``Wires`` of queues, where a send waits for its receiver."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import Any, cast

import torch
from torch import Tensor, nn

from haversack_trainer.blocks import GroupExecutor, Mode, Op, find_groups
from haversack_trainer.blocks.routes import Hosts
from haversack_trainer.model.held import Held, InModule
from haversack_trainer.model.state import trainable_parameters
from haversack_trainer.sharding import World
from haversack_trainer.sharding.groups.first import FirstProcess
from haversack_trainer.sharding.groups.opening import open_first, open_other

SECONDS = 20
END = "end"


class Lines:
    """A queue for each ordered pair of processes and purpose, and one for what was taken from it."""

    def __init__(self) -> None:
        self._queues: dict[Any, Queue[Any]] = {}

    def queue(self, *key: Any) -> Queue[Any]:
        return self._queues.setdefault(key, Queue())


@dataclass
class ThreadWorld:
    rank: int
    size: int
    lines: Lines

    def broadcast(self, value: Any = None) -> Any:
        if self.rank:
            return self.lines.queue("word", self.rank).get(timeout=SECONDS)
        for other in range(1, self.size):
            self.lines.queue("word", other).put(pickle.loads(pickle.dumps(value)))
        return value

    def gather(self, value: Any) -> list[Any]:
        for other in range(self.size):
            self.lines.queue("gather", self.rank, other).put(value)
        return [
            self.lines.queue("gather", other, self.rank).get(timeout=SECONDS)
            for other in range(self.size)
        ]

    def wires(self, _: torch.device) -> ThreadWires:
        return ThreadWires(self.rank, self.lines)


@dataclass
class ThreadWires:
    rank: int
    lines: Lines
    num_bytes: int = 0

    def _put(self, value: Any, other: int) -> None:
        self.lines.queue("data", self.rank, other).put(value)
        self.lines.queue("taken", self.rank, other).get(timeout=SECONDS)

    def _get(self, other: int) -> Any:
        value = self.lines.queue("data", other, self.rank).get(timeout=SECONDS)
        self.lines.queue("taken", other, self.rank).put(None)
        return value

    def send(self, tensor: Tensor, other: int) -> None:
        self.num_bytes += tensor.nbytes
        self._put(tensor.detach().clone(), other)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, other: int) -> Tensor:
        found: Tensor = self._get(other)
        assert (found.shape, found.dtype) == (torch.Size(shape), dtype)
        self.num_bytes += found.nbytes
        return found

    def tell(self, word: Any, other: int) -> None:
        self._put(pickle.loads(pickle.dumps(word)), other)

    def hear(self, other: int) -> Any:
        return self._get(other)

    def settle(self) -> None:
        """Nothing is under way."""


class Model:
    """A network as ``sharding.groups`` sees it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.held: Held = InModule(trainable_parameters(network))

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return self.held.trainables()

    def share_out(self, held: Held) -> None:
        self.held = held

    def num_bytes(self) -> int:
        return sum(p.nbytes for p in self.network.parameters())


def tried(network: nn.Module, figure: Callable[[Any], Tensor]) -> GroupExecutor:
    """Whole, and gone through once in slices."""
    executor = GroupExecutor(find_groups(network), Mode.SLICED)
    trial = [[Op.FULL, *[Op.FORWARD] * (executor.groups.num_groups - 1)]] * len(executor.groups)
    with torch.no_grad(), executor.under(trial):
        figure(network)
    executor.executed.clear()
    return executor


def assert_equal(left: dict[str, Tensor | None], right: dict[str, Tensor | None]) -> None:
    """But for the order of sums, in fp32: a sum over columns in one product there is one over processes here. Absent
    and zero are the same."""
    assert left.keys() == right.keys()
    for name, a in left.items():
        b = right[name]
        if a is None or b is None:
            assert not any(g is not None and g.any() for g in (a, b)), name
        else:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


@dataclass
class Pod:
    """A network on several threads; the first is the caller's."""

    first: FirstProcess
    models: list[Model]

    @property
    def num_bytes(self) -> int:
        """Sent and received by the first."""
        return self.first.num_bytes


Actions = Mapping[str, Callable[..., Any]]


@contextmanager
def following(size: int, serve: Callable[[World], Actions]) -> Iterator[World]:
    """The first process's world; each of the others does in a thread what ``serve`` gives."""
    lines, errors = Lines(), []
    worlds = [cast("World", ThreadWorld(rank, size, lines)) for rank in range(size)]

    def follow(world: World) -> None:
        try:
            actions = serve(world)
            while (word := world.broadcast()) != END:
                actions[word[0]](*word[1])
        except BaseException as error:  # noqa: BLE001  # told at the end
            errors.append(error)

    threads = [Thread(target=follow, args=(world,), daemon=True) for world in worlds[1:]]
    for thread in threads:
        thread.start()
    yield worlds[0]
    worlds[0].broadcast(END)
    for thread in threads:
        thread.join(SECONDS)
    assert not errors


@contextmanager
def pod(network: nn.Module, figure: Callable[[Any], Tensor], hosts: Hosts) -> Iterator[Pod]:
    """Whose processes all begin with this network."""
    models = [Model(copy.deepcopy(network)) for _ in range(hosts.num_processes)]

    def serve(world: World) -> Actions:
        model = models[world.rank]
        return open_other(model, find_groups(model.network), hosts, world)

    with following(len(models), serve) as world:
        executor = tried(models[0].network, figure)
        yield Pod(open_first(models[0], executor, hosts, world), models)
