"""One pass through the model on the first process: its list of messages, taken in turn as the model's code comes to them.

At a part with groups in full elsewhere two functions stand in autograd's graph, one before it and one after it. The
second depends on the first by a token, so that on the way back gradients are sent before others are awaited, and
are awaited even where nothing of the part is here.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from haversack_trainer.blocks import BlocksError
from haversack_trainer.blocks.executor import hidden_of
from haversack_trainer.blocks.routes import Kind

from .passing import HIDDEN, Call, Pass, is_same, portable, rest_of
from .shared import Shared

Joint = tuple[int, int]
"""Layer and part."""


class Course:
    """Of one pass, and of the way back."""

    def __init__(self, asked: Pass, shared: Shared) -> None:
        self.asked, self._shared, self._wires = asked, shared, shared.wires
        sequence = shared.transfers(asked)
        self._left = deque(sequence)
        self._trained = {(t.layer, t.part) for t in sequence if t.kind is Kind.SUM_GRADIENT}
        self._tokens: dict[Joint, Tensor] = {}
        self._told: dict[tuple[int, int], Any] = {}
        """The other arguments of the newest call, by process and part."""

    def leave(
        self, place: Joint, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Send the hidden state that a part is called with; the call to go on with."""
        hidden = hidden_of(args, kwargs)
        for other in self._others(Kind.HIDDEN, place):
            self._wires.tell(self._call(hidden, other, place, rest_of(args, kwargs)), other)
            self._wires.send(hidden, other)
        if place not in self._trained:
            return args, kwargs
        start = torch.zeros((), device=hidden.device, requires_grad=True)
        hidden, self._tokens[place] = _Sent.apply(hidden, start, self, place)  # type: ignore[no-untyped-call]  # torch's
        if HIDDEN in kwargs:
            return args, kwargs | {HIDDEN: hidden}
        return (hidden, *args[1:]), kwargs

    def come_back(self, place: Joint, own: Tensor) -> Tensor:
        """What all groups of a part add to the hidden state, ``own`` being what those here do."""
        token = self._tokens.pop(place, None)
        if token is None:
            return self.total(Kind.SUM, place, own)
        found: Tensor = _Added.apply(own, token, self, place)  # type: ignore[no-untyped-call]  # torch's
        return found

    def total(self, kind: Kind, place: Joint, own: Tensor) -> Tensor:
        """``own`` and what is received, in the order of the processes."""
        for other in self._others(kind, place):
            own = own + self._wires.receive(own.shape, own.dtype, other)
        return own

    def send(self, kind: Kind, place: Joint, tensor: Tensor) -> None:
        """To all who wait for it."""
        for other in self._others(kind, place):
            self._wires.send(tensor, other)

    def _call(self, hidden: Tensor, other: int, place: Joint, rest: tuple[Any, ...]) -> Call:
        before, self._told[other, place[1]] = self._told.get((other, place[1])), rest
        name = type(self._shared.sliced[place[0]][place[1]].core).__name__
        is_new = before is None or not is_same(before, rest)
        return Call(tuple(hidden.shape), hidden.dtype, portable(rest, name) if is_new else None)

    def _others(self, kind: Kind, place: Joint) -> list[int]:
        """Who comes next in the list, for this. Raises ``BlocksError`` where the list has come to something else."""
        found = []
        while self._left and (self._left[0].kind, *self._left[0][1:3]) == (kind, *place):
            found.append(self._left.popleft().other)
        if not found and any((one.kind, *one[1:3]) == (kind, *place) for one in self._left):
            raise BlocksError(
                f"layer {place[0]} is not run in the order of attention, then feed-forward part, layer by layer"
            )
        return found


class _Sent(torch.autograd.Function):
    """The hidden state as it goes into a part here, and a token; backward: the gradients of all who got it, added."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, start: Tensor, course: Course, place: Joint
    ) -> tuple[Tensor, Tensor]:
        ctx.course, ctx.place = course, place
        passed = hidden.view_as(hidden)
        if not ctx.needs_input_grad[0]:
            ctx.mark_non_differentiable(passed)
        return passed, start.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        whole = ctx.course.total(Kind.HIDDEN_GRADIENT, ctx.place, gradients[0])
        return whole if ctx.needs_input_grad[0] else None, None, None, None


class _Added(torch.autograd.Function):
    """What all groups of a part add; backward: its gradient to all who run in full."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, token: Tensor, course: Course, place: Joint) -> Tensor:
        ctx.course, ctx.place, ctx.like = course, place, token
        found: Tensor = course.total(Kind.SUM, place, own)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        ctx.course.send(Kind.SUM_GRADIENT, ctx.place, gradient)
        return gradient, torch.zeros_like(ctx.like), None, None
