"""FlexDeMo as a torch optimizer over flat fp32 tensors, wherever they come from.

It takes whatever ``param_groups`` hold at the time of the call: one process's own flat vector, the partition
that ZeRO hands to a rank, FSDP2's local shards. State is made when a tensor is first seen, and each tensor
counts its own steps, since ZeRO calls ``step`` once for each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from .choosing import scheme_of
from .options import Options
from .payload import Frame
from .rules import AdamW, descend, rule_of
from .schemes import Bucket, Part, Sent
from .settings import Scheme
from .values import PayloadError

Exchange = Callable[[bytes], Sequence[bytes]]
"""This node's payload in, the payloads of all that contribute out, in the same order on all nodes."""
_INNER: Final = ("inner_exp_avg", "inner_exp_avg_sq")


@dataclass(frozen=True, slots=True)
class _Slot:
    """A tensor with its state and the place of its part in the payload."""

    weights: Tensor
    gradient: Tensor | None
    state: dict[str, Any]
    group: dict[str, Any]
    bucket: Bucket


class FlexDemoOptimizer(torch.optim.Optimizer):
    """``step`` is ``apply(exchange(compress()))``; whoever does the exchange elsewhere calls the halves."""

    def __init__(self, params: Any, options: Options, exchange: Exchange | None = None) -> None:
        self.options = options
        self.metrics: dict[str, float] = {}
        """Of the newest payload: share of the momentum's energy in it, and the momentum's norm before."""
        self._scheme, self._rule = scheme_of(options), rule_of(options)
        self._exchange = exchange
        self._num_groups = 0
        super().__init__(
            params, {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        # The number stays with the group: DeepSpeed passes one group at a time.
        param_group.setdefault("bucket", self._num_groups)
        self._num_groups += 1
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # the base class has it overloaded
        """One optimizer step; with DiLoCo an inner one, and every ``sync_every``-th time an exchange."""
        if self._exchange is None:
            raise RuntimeError("step() needs an exchange: give one, or call compress() and apply()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.options.scheme is Scheme.DILOCO:
            self.inner_step()
            if any(slot.state["inner_step"] % self.options.sync_every for slot in self._slots()):
                return loss
        self.apply(self._exchange(self.compress()))
        return loss

    @torch.no_grad()
    def inner_step(self) -> bool:
        """DiLoCo's local AdamW step. False if a gradient was not finite: nothing is done then."""
        slots = list(self._slots())
        if not _are_finite(slots):
            return False
        for slot in slots:
            state = slot.state
            if "reference" not in state:
                state["reference"] = slot.weights.clone()
            for name in _INNER:
                state.setdefault(name, torch.zeros_like(slot.weights))
            state["inner_step"] += 1
            moments = [state[name] for name in _INNER]
            direction = AdamW().step(_gradient(slot).double(), moments, state["inner_step"])
            descend(slot.weights, direction, slot.group["lr"], slot.group["weight_decay"])
        return True

    @torch.no_grad()
    def compress(self, *, hold: bool = False) -> bytes:
        """What this node sends; empty if a gradient was not finite, and then no momentum is touched.

        ``hold``: take the gradient into the momentum and send nothing.
        """
        slots = list(self._slots())
        if not _are_finite(slots):
            return b""
        if hold:
            for slot in slots:
                self._scheme.hold(slot.state["momentum"], _gradient(slot))
            return b""
        sent = [
            self._scheme.encode(slot.bucket, slot.state["momentum"], self._signal(slot))
            for slot in slots
        ]
        self.metrics = _figures(sent)
        return self._frame(slots).pack([one.data for one in sent])

    @torch.no_grad()
    def apply(self, payloads: Sequence[bytes]) -> int:
        """Take the step that the payloads ask for, in the order given; how many of them counted.

        Empty and unusable ones do not count; if none does, the weights stay as they are.
        """
        slots = list(self._slots())
        parts = [part for part in map(self._reader(slots), payloads) if part is not None]
        for number, slot in enumerate(slots):
            self._back_to_reference(slot)
            if parts:
                self._update(slot, [part[number] for part in parts])
            slot.state["step"] += 1
        return len(parts)

    @torch.no_grad()
    def take_back(self, payload: bytes) -> None:
        """Undo what ``compress`` took out of the momentum for this payload, which nobody has counted."""
        slots = list(self._slots())
        for slot, part in zip(slots, self._reader(slots)(payload) or [], strict=True):
            self._scheme.take_back(slot.bucket, slot.state["momentum"], part)

    def payload_bytes(self, options: Options | None = None) -> int:
        """Exact length of the next payload, under other options if that is asked."""
        return self._frame(list(self._slots()), options).num_bytes

    def weights(self) -> list[Tensor]:
        """Flat, as they are between two exchanges; views, or DiLoCo's reference."""
        return [slot.state.get("reference", slot.weights) for slot in self._slots()]

    def shared_state(self) -> dict[str, Tensor]:
        """What is equal on all nodes between two exchanges, as named fp32 tensors. Views."""
        shared: dict[str, Tensor] = {}
        for slot, weights in zip(self._slots(), self.weights(), strict=True):
            name, step = slot.bucket.name, slot.state["step"]
            shared[f"{name}.weights"] = weights
            # In two halves: fp32 counts to 2^24 only.
            shared[f"{name}.step"] = torch.tensor([float(step >> 16), float(step & 0xFFFF)])
            shared |= {f"{name}.{moment}": slot.state[moment] for moment in self._rule.moments}
        return shared

    @torch.no_grad()
    def load_shared_state(self, shared: Mapping[str, Tensor]) -> None:
        """Take another node's ``shared_state``. What is a node's own starts afresh: the momentum at zero."""
        for slot in list(self._slots()):
            name = slot.bucket.name
            slot.weights.copy_(shared[f"{name}.weights"])
            high, low = shared[f"{name}.step"].tolist()
            moments = {m: torch.empty_like(slot.weights) for m in self._rule.moments}
            for moment, values in moments.items():
                values.copy_(shared[f"{name}.{moment}"])
            slot.state.clear()
            slot.state.update(step=(int(high) << 16) + int(low), inner_step=0, **moments)

    def _update(self, slot: _Slot, parts: Sequence[Part]) -> None:
        moments = [slot.state[name] for name in self._rule.moments]
        is_outer = self.options.scheme is Scheme.DILOCO
        rate = self.options.outer_learning_rate if is_outer else slot.group["lr"]
        decay = 0.0 if is_outer else slot.group["weight_decay"]
        for start, stop, mean in self._scheme.mean(slot.bucket, parts):
            views = [moment[start:stop] for moment in moments]
            direction = self._rule.step(mean, views, slot.state["step"] + 1)
            descend(slot.weights[start:stop], direction, rate, decay)

    def _back_to_reference(self, slot: _Slot) -> None:
        reference = slot.state.pop("reference", None)
        if reference is not None:
            slot.weights.copy_(reference)

    def _signal(self, slot: _Slot) -> Tensor:
        """What goes into the momentum: the gradient, or how far DiLoCo's inner steps have come."""
        if self.options.scheme is not Scheme.DILOCO:
            return _gradient(slot)
        reference: Tensor = slot.state.get("reference", slot.weights)
        return reference - slot.weights

    def _reader(self, slots: Sequence[_Slot]) -> Callable[[bytes], list[Part] | None]:
        frame = self._frame(slots)

        def read(payload: bytes) -> list[Part] | None:
            try:
                return [
                    self._scheme.decode(slot.bucket, part)
                    for slot, part in zip(slots, frame.unpack(payload), strict=True)
                ]
            except PayloadError:
                return None

        return read

    def _frame(self, slots: Sequence[_Slot], options: Options | None = None) -> Frame:
        scheme = scheme_of(options) if options else self._scheme
        sizes = tuple(slot.bucket.num_elements for slot in slots)
        lengths = tuple(scheme.num_bytes(slot.bucket) for slot in slots)
        return Frame(options or self.options, sizes, lengths)

    def _slots(self) -> Iterator[_Slot]:
        for group in self.param_groups:
            for number, parameter in enumerate(group["params"]):
                weights = parameter.detach().view(-1)
                state = self._state_of(parameter, weights)
                name = f"{group['bucket']}.{number}"
                bucket = Bucket(name, state["step"], weights.numel(), weights.device)
                yield _Slot(weights, parameter.grad, state, group, bucket)

    def _state_of(self, parameter: Tensor, weights: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            state |= {"step": 0, "inner_step": 0}
        if "momentum" not in state:
            state["momentum"] = self._scheme.new_momentum(weights.numel(), weights.device)
        for name in self._rule.moments:
            if name not in state:
                state[name] = torch.zeros_like(weights)
        return state


def _gradient(slot: _Slot) -> Tensor:
    """Flat and in fp32; zeros where nothing was computed."""
    if slot.gradient is None:
        return torch.zeros_like(slot.weights)
    return slot.gradient.detach().reshape(-1).float()


def _are_finite(slots: Sequence[_Slot]) -> bool:
    # The sum is not finite if one term is not; the other way round it may have overflown.
    return all(
        bool(torch.isfinite(gradient.sum()) or torch.isfinite(gradient).all())
        for gradient in map(_gradient, slots)
    )


def _figures(sent: Sequence[Sent]) -> dict[str, float]:
    before = sum(one.energy_before for one in sent)
    energy = sum(one.energy for one in sent)
    return {"energy_sent": energy / before if before else 0.0, "momentum_norm": before**0.5}
