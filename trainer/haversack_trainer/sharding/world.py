"""The processes of one pod, and what they tell one another on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist

from .wires import PodWires, Wires

_Result = TypeVar("_Result")
PATIENCE: Final = timedelta(minutes=30)
"""Of a collective in training. A process that died is noticed at once, by its closed connections."""
FOR_EVER: Final = timedelta(days=365)
"""Of the commands: the first process may wait for other pods, or for a person's word."""


@dataclass(frozen=True, slots=True)
class World:
    """One process's view of its pod."""

    rank: int
    size: int
    control: Any
    """A gloo group of its own, so that commands never mix with a step's collectives."""

    @staticmethod
    def join(rank: int, size: int, rendezvous: Path) -> World:
        """Meet the other processes at a file that none of them has used before; needs no port."""
        os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
        num_devices = torch.cuda.device_count()
        if num_devices:
            torch.cuda.set_device(rank % num_devices)
        dist.init_process_group(
            # Processes that share a device, on a machine with fewer than it tells of, cannot use NCCL.
            "cpu:gloo,cuda:nccl" if num_devices >= size else "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
        )
        return World(rank, size, dist.new_group(backend="gloo", timeout=FOR_EVER))

    def sums(self, *values: float) -> list[float]:
        """Of every value, the sum over all processes."""
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.control)
        return [float(value) for value in total]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in order of rank, on every process."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.control)
        return found

    def broadcast(self, value: Any = None) -> Any:
        """The first process's value, on every process."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def first_then_others(self, work: Callable[[], _Result]) -> _Result:
        """The first process does it alone; the others find it done, e.g. a download in the cache."""
        result = work() if self.rank == 0 else None
        self.broadcast()
        return work() if result is None else result

    def wires(self, device: torch.device) -> Wires:
        """For tensors between this process's device and the others'."""
        return PodWires(device)

    def leave(self) -> None:
        """Nothing is said any more."""
        dist.destroy_process_group()
