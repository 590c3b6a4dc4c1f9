"""Tensors from process to process of a pod, in the order in which both ends ask for them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Wires(Protocol):
    """One process's. What it sends to another arrives there in this order."""

    num_bytes: int
    """Of tensors, sent and received, so far."""

    def send(self, tensor: Tensor, other: int) -> None:
        """May return before it is there; ``tensor`` must not be changed before ``settle``."""

    def receive(self, shape: Sequence[int], dtype: torch.dtype, other: int) -> Tensor:
        """On this process's device."""

    def tell(self, word: Any, other: int) -> None:
        """Something small that pickles."""

    def hear(self, other: int) -> Any:
        """What was told."""

    def settle(self) -> None:
        """All that was sent has been received."""


class PodWires:
    """Over torch.distributed's default group: from device to device where that has NCCL, else over the CPU."""

    def __init__(self, device: torch.device) -> None:
        self.num_bytes = 0
        self._device = device
        has_nccl = device.type == "cuda" and "nccl" in str(dist.get_backend_config())
        self._between = device if has_nccl else torch.device("cpu")
        self._sent: dict[int, list[tuple[Any, Tensor]]] = {}

    def send(self, tensor: Tensor, other: int) -> None:
        self.num_bytes += tensor.nbytes
        self._send(tensor.detach().to(self._between).contiguous(), other)

    def receive(self, shape: Sequence[int], dtype: torch.dtype, other: int) -> Tensor:
        found = torch.empty(tuple(shape), dtype=dtype, device=self._between)
        self.num_bytes += found.nbytes
        dist.recv(found, other)
        # Who answers has received what came before: nothing that was sent need be kept any longer.
        self._settle(other)
        return found.to(self._device)

    def tell(self, word: Any, other: int) -> None:
        raw = torch.frombuffer(bytearray(pickle.dumps(word)), dtype=torch.uint8)
        self._send(torch.tensor([len(raw)]), other)
        self._send(raw, other)

    def hear(self, other: int) -> Any:
        length = torch.empty(1, dtype=torch.int64)
        dist.recv(length, other)
        raw = torch.empty(int(length), dtype=torch.uint8)
        dist.recv(raw, other)
        return pickle.loads(raw.numpy().tobytes())  # noqa: S301  # from a process of this pod

    def settle(self) -> None:
        for other in list(self._sent):
            self._settle(other)

    def _settle(self, other: int) -> None:
        for work, _ in self._sent.pop(other, ()):
            work.wait()

    def _send(self, tensor: Tensor, other: int) -> None:
        self._sent.setdefault(other, []).append((dist.isend(tensor, other), tensor))
