"""What a method may ask of the processes of its pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from .world import World


class ShardingError(Exception):
    """The pod's processes cannot train this together; says what to change."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """What a batch came to, the same on every process of the pod."""

    loss: float
    """Mean over all samples of the peer's batch."""
    num_samples: int
    is_finite: bool
    """False: some gradient of the pod is NaN or infinite, and no process may use its own."""


class LossModel(Protocol):
    """A model that gives the mean loss of a micro-batch's samples."""

    def loss(self, batch: Any, /) -> Tensor:
        """A scalar in fp32."""


class InParts(Protocol):
    """Weights that a pod's processes share out. Every function is collective: all processes of the pod call it, in
    the same order."""

    world: World

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        """Canonical name and parameter as the module has it now, sorted by name."""

    def state(self) -> dict[str, Tensor]:
        """The trainables whole, on the CPU, fp32, in canonical order."""

    def load(self, state: Mapping[str, Tensor], /) -> None:
        """Inverse of ``state``."""

    def whole(self, tensor: Tensor, /) -> Tensor:
        """All values of one of the module's parameters."""


class Shards(InParts, Protocol):
    """What is trained is shared out, too, with its gradients."""

    def partitions(self) -> Sequence[Tensor]:
        """This process's part of the trainables: flat, fp32, of the same size on every pod. Who changes them calls
        ``updated``."""

    def gradient(self, model: LossModel, batch: Sequence[Any], max_norm: float) -> Gradient:
        """Set ``.grad`` of the partitions to the mean over all samples of the pod, clipped to ``max_norm`` (infinity:
        not at all) by the norm over the whole pod. ``batch`` holds this process's micro-batches, as many as every
        other process has."""

    def updated(self) -> None:
        """Let the model compute with what the partitions hold now."""
