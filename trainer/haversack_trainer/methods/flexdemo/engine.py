"""Where the gradient comes from and where the step goes: the seam between the method and a node's processes.

The method knows rounds, payloads and membership; an engine knows the model, its partition and the optimizer.
One process is the base case, here; a node of several processes has an engine of its own behind the same
protocol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from haversack_trainer.exchange.codec import CodecError, Layout
from haversack_trainer.method import Trainee, Unsuited, tensors_of

from .optimizer import FlexDemoOptimizer
from .options import Options
from .values import PayloadError
from .word import CHECKSUM_BYTES


class Engine(Protocol):
    """One node. All of it is deterministic in what it is given."""

    def gradient(self, batch: Sequence[Any]) -> float:
        """Mean loss over the samples of all micro-batches; its gradient, clipped, is left for the next call."""

    def pace(self, factor: float) -> None:
        """Multiply the learning rate that was set, not what the last call made of it. DiLoCo's outer rate stays."""

    def inner_step(self) -> bool:
        """DiLoCo: a local step along the gradient. False if that was not finite: nothing was done."""

    def compress(self, *, hold: bool = False) -> bytes:
        """The node's payload, made of its momentum and the gradient. Empty if that was not finite, or with
        ``hold``: the momentum takes the gradient in and keeps it."""

    def apply(self, payloads: Sequence[bytes]) -> int:
        """The step that all nodes take alike, given the same payloads in the same order; how many counted."""

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of the newest payload, for the report."""

    def payload_bytes(self, options: Options | None = None) -> int:
        """Length of a payload, under other options if that is asked."""

    def adopt(self, options: Options) -> None:
        """Go on under other options. The weights stay; everything else starts afresh."""

    def take_back(self, payload: bytes) -> None:
        """The payload has not been counted: what it took out of the momentum goes back."""

    @property
    def shared_bytes(self) -> int:
        """Length of ``shared_state``."""

    def shared_state(self) -> bytes:
        """What is equal on all nodes between two rounds: weights, steps, moments. Never the momentum."""

    def load_shared_state(self, data: bytes) -> None:
        """Take another node's; the momentum starts at zero. Raises ``PayloadError``, and changes nothing then."""

    def forget(self) -> None:
        """Keep the weights and nothing else, as at the run's start."""

    def checksum(self) -> bytes:
        """Eight bytes over the weights' raw bytes as they are between two rounds."""

    def state_dict(self, *, with_gradient: bool) -> dict[str, Any]:
        """All but the weights; ``with_gradient``: that of a round to come, too."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``; the weights have been loaded before."""


class Optimizing:
    """What engines have in common: an optimizer over their parameters, which may be begun anew."""

    def __init__(self, parameters: Callable[[], Sequence[Tensor]], options: Options) -> None:
        self._parameters = parameters
        self._begin(options)

    def _begin(self, options: Options) -> None:
        self._optimizer = FlexDemoOptimizer(list(self._parameters()), options)
        self._fresh = self._optimizer.state_dict()

    @property
    def metrics(self) -> dict[str, float]:
        return self._optimizer.metrics

    def pace(self, factor: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._optimizer.options.learning_rate * factor

    def adopt(self, options: Options) -> None:
        if options != self._optimizer.options:
            self._begin(options)

    def forget(self) -> None:
        self._optimizer.load_state_dict(self._fresh)


class OneProcess(Optimizing):
    """The trainables are views of one flat vector, and so are their gradients."""

    def __init__(self, model: Trainee, options: Options, max_grad_norm: float) -> None:
        self._model = model
        self._max_norm = max_grad_norm
        self._flat, self._gradient = _flattened(model)
        super().__init__(lambda: [self._flat], options)

    def gradient(self, batch: Sequence[Any]) -> float:
        self._model.train(mode=True)
        num_samples = sum(micro.num_samples for micro in batch)
        total = 0.0
        self._gradient.zero_()
        for micro in batch:
            loss: Tensor = self._model.loss(micro) * (micro.num_samples / num_samples)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            total += float(loss.detach())
        if self._max_norm:
            torch.nn.utils.clip_grad_norm_([self._flat], self._max_norm)
        return total

    def inner_step(self) -> bool:
        return self._optimizer.inner_step()

    def compress(self, *, hold: bool = False) -> bytes:
        return self._optimizer.compress(hold=hold)

    def apply(self, payloads: Sequence[bytes]) -> int:
        return self._optimizer.apply(payloads)

    def payload_bytes(self, options: Options | None = None) -> int:
        return self._optimizer.payload_bytes(options)

    def take_back(self, payload: bytes) -> None:
        self._optimizer.take_back(payload)

    @property
    def shared_bytes(self) -> int:
        return layout_of(self._optimizer).num_bytes

    def shared_state(self) -> bytes:
        return encoded(self._optimizer)

    def load_shared_state(self, data: bytes) -> None:
        self._optimizer.load_shared_state(decoded(self._optimizer, data))

    def checksum(self) -> bytes:
        return digest_of(self._optimizer)[:CHECKSUM_BYTES]

    def state_dict(self, *, with_gradient: bool) -> dict[str, Any]:
        gradient = self._gradient if with_gradient else None
        return {"optimizer": dict(self._optimizer.state_dict()), "gradient": gradient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        if state["gradient"] is not None:
            self._gradient.copy_(state["gradient"])


def _flattened(model: Trainee) -> tuple[nn.Parameter, Tensor]:
    """One vector that the trainables become views of, and its gradient. Raises ``Unsuited``."""
    parameters = model.trainables()
    for name, parameter in parameters:
        if parameter.dtype is not torch.float32:
            raise Unsuited(
                f"FlexDeMo without sharding needs trainable tensors in fp32, {name} is {parameter.dtype}: "
                "small steps would be rounded away"
            )
    flat = torch.cat([parameter.detach().reshape(-1) for _, parameter in parameters])
    gradient = torch.zeros_like(flat)
    end = 0
    for _, parameter in parameters:
        start, end = end, end + parameter.numel()
        parameter.data = flat[start:end].view_as(parameter)
        parameter.grad = gradient[start:end].view_as(parameter)
    whole = nn.Parameter(flat)
    whole.grad = gradient
    return whole, gradient


def digest_of(optimizer: FlexDemoOptimizer) -> bytes:
    """sha256 over the weights' raw bytes."""
    whole = hashlib.sha256()
    for weights in optimizer.weights():
        whole.update(weights.cpu().numpy().data)
    return whole.digest()


def layout_of(optimizer: FlexDemoOptimizer) -> Layout:
    """Of the shared state. Only names and shapes are looked at."""
    entries = ((name, tuple(tensor.shape)) for name, tensor in optimizer.shared_state().items())
    return Layout(tuple(sorted(entries)))


def encoded(optimizer: FlexDemoOptimizer) -> bytes:
    """The optimizer's shared state."""
    return layout_of(optimizer).encode(_arrays(optimizer.shared_state()))


def decoded(optimizer: FlexDemoOptimizer, data: bytes) -> dict[str, Tensor]:
    """Inverse of ``encoded``. Raises ``PayloadError``."""
    try:
        return tensors_of(layout_of(optimizer).decode(data))
    except CodecError as error:
        raise PayloadError(str(error)) from error


def _arrays(state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    return {name: tensor.cpu().numpy() for name, tensor in state.items()}
