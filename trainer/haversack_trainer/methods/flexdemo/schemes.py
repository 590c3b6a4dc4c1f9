"""What of a bucket is sent, and what the mean of all senders' parts is. One bucket is one flat fp32 tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor

TILE: Final = {"cpu": 2**18, "cuda": 2**24}
"""Elements that are worked on at a time: what the L2 cache, or one kernel launch, is good for."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a part belongs: the same on all peers."""

    name: str
    step: int
    num_elements: int
    device: torch.device


@dataclass(frozen=True, slots=True)
class Sent:
    """A bucket's part of the payload, and how much of the momentum's energy it carries."""

    data: bytes
    energy: float
    energy_before: float
    """Of the whole momentum, this round's gradient included."""


Part = Any
"""A sender's part of one bucket, decoded; what it is, its scheme knows."""
Tile = tuple[int, int, Tensor]
"""Start, stop, and the mean of the elements between, fp64."""


class Scheme(Protocol):
    """Pure but for the momentum, which it changes in place."""

    keeps_momentum: bool

    def new_momentum(self, num_elements: int, device: torch.device) -> Tensor:
        """Zeros, in the scheme's own domain."""

    def hold(self, momentum: Tensor, gradient: Tensor) -> None:
        """``momentum = beta·momentum + gradient``; nothing is sent."""

    def encode(self, bucket: Bucket, momentum: Tensor, gradient: Tensor) -> Sent:
        """Take the gradient into the momentum, and out of it ``alpha`` of what is sent."""

    def take_back(self, bucket: Bucket, momentum: Tensor, part: Part) -> None:
        """Put back what ``encode`` took out of the momentum for this part, up to rounding."""

    def num_bytes(self, bucket: Bucket) -> int:
        """Exact length of a part."""

    def decode(self, bucket: Bucket, data: memoryview) -> Part:
        """Inverse of ``encode``. Raises ``PayloadError``; ``data`` has ``num_bytes``."""

    def mean(self, bucket: Bucket, parts: Sequence[Part]) -> Iterator[Tile]:
        """Mean over at least one sender, the same bits on every device."""
