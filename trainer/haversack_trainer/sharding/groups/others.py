"""Every process of a pod but the first: it runs its groups on what it is sent, and says what they add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from haversack_trainer.blocks import Op
from haversack_trainer.blocks.routes import FIRST, Kind, Transfer, of_process
from haversack_trainer.blocks.scores import Gates, fisher_rows

from .passing import FORGET, RUN, SCORES, Call, Pass, on_device
from .shared import Shared
from .values import OwnValues, value_actions


class Other:
    """Does what the first process says, by ``actions``."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._network, self._world, self._wires = shared.network, shared.world, shared.wires
        self._device = next(shared.network.parameters()).device
        self._own = OwnValues(shared.places, shared.world.rank)
        self.actions: Mapping[str, Callable[..., Any]] = {
            RUN: self.run,
            SCORES: self._tell_scores,
            FORGET: self._forget,
            **value_actions(shared.places, shared.world.rank, shared.wires),
        }
        self._forget()

    def _forget(self) -> None:
        self._own.forget()
        self._gates = Gates(self._shared.parts, self._device)

    def _tell_scores(self, of_gates: bool) -> None:
        self._world.gather(self._gates.rows() if of_gates else fisher_rows(self._shared.parts))

    def run(self, asked: Pass) -> None:
        """One pass: this process's list from its first message to its last."""
        if self._network.training != asked.training:
            self._network.train(asked.training)
        if asked.training:
            torch.manual_seed(asked.seed + self._world.rank)
        work = _Work(self._shared, self._device, asked)
        with self._gates.open() if asked.gated else nullcontext(), self._adapters(asked):
            for transfer in of_process(self._shared.transfers(asked), self._world.rank):
                work.do(transfer)
        self._wires.settle()

    def _adapters(self, asked: Pass) -> AbstractContextManager[None]:
        off: Any = getattr(self._network, "disable_adapter", None)
        return nullcontext() if asked.has_adapters or off is None else off()


@dataclass(slots=True)
class _Work:
    """One pass, message by message."""

    shared: Shared
    device: torch.device
    asked: Pass
    hidden: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """What the parts were sent, until its gradient is back."""
    added: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """What they add to it."""
    rest: dict[int, Any] = field(default_factory=dict)
    """The other arguments of the newest call of each part."""

    def do(self, transfer: Transfer) -> None:
        """Receive and compute, or send what has been computed."""
        place = transfer.layer, transfer.part
        match transfer.kind:
            case Kind.HIDDEN:
                self._forward(*place)
            case Kind.SUM:
                is_needed = self._is_in_full(transfer.layer)
                self.shared.wires.send(
                    self.added[place] if is_needed else self.added.pop(place), FIRST
                )
            case Kind.SUM_GRADIENT:
                added = self.added.pop(place)
                added.backward(self.shared.wires.receive(added.shape, added.dtype, FIRST))  # type: ignore[no-untyped-call]  # torch does not annotate it
            case Kind.HIDDEN_GRADIENT:
                hidden = self.hidden.pop(place)
                none = torch.zeros_like(hidden)
                self.shared.wires.send(none if hidden.grad is None else hidden.grad, FIRST)

    def _ops(self, layer: int) -> Sequence[Op]:
        return self.shared.ops(self.asked, layer)

    def _is_in_full(self, layer: int) -> bool:
        """Whether a gradient will come back."""
        return self.asked.backward and Op.FULL in self._ops(layer)

    def _forward(self, layer: int, part: int) -> None:
        call: Call = self.shared.wires.hear(FIRST)
        if call.rest is not None:
            self.rest[part] = on_device(call.rest, self.device)
        hidden = self.shared.wires.receive(call.shape, call.dtype, FIRST)
        args, kwargs = self.rest[part]
        is_in_full = self._is_in_full(layer)
        if is_in_full:
            self.hidden[layer, part] = hidden.requires_grad_()
        sliced = self.shared.kept[layer, part]
        with torch.set_grad_enabled(is_in_full):
            scale = self.asked.scales[layer]
            self.added[layer, part] = sliced.run(self._ops(layer), scale, (hidden, *args), kwargs)
