"""The first process of a pod: the model's own code, with the other processes' groups added to its layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from haversack_trainer.blocks import GroupOps, Groups, Op, Scales
from haversack_trainer.blocks.executor import hidden_of
from haversack_trainer.blocks.narrow import narrow
from haversack_trainer.blocks.patch import replaced
from haversack_trainer.blocks.scores import Gates, Scores, Scoring, fisher_rows
from haversack_trainer.blocks.sliced import SlicedPart, first_of

from .course import Course, Joint
from .passing import FORGET, RUN, SCORES, Pass
from .shared import Shared
from .values import Masters


class FirstProcess:
    """Runs tables as a ``GroupExecutor`` does, over all processes of the pod, and evaluation as well: no process could
    do that alone. Nobody else may call the network in training without a backward pass after it."""

    def __init__(self, shared: Shared, groups: Groups, masters: Masters) -> None:
        self.groups, self.executed = groups, Counter[Op]()
        self._shared, self._masters = shared, masters
        self._network, self._world, self._wires = shared.network, shared.world, shared.wires
        self._asked: tuple[GroupOps, Scales | None] | None = None
        self._gates: Gates | None = None
        self._course: Course
        shared.network.register_forward_pre_hook(self._begin)
        for layer, row in enumerate(shared.sliced):
            for number, part in enumerate(row):
                self._join(layer, number, part)

    def _join(self, layer: int, number: int, part: SlicedPart) -> None:
        core: Any = part.core
        core.forward = partial(self._core, (layer, number), core.forward)
        if not part.is_inside:
            last: Any = part.part.module
            last.forward = partial(self._last, (layer, number), last.forward)

    @property
    def num_bytes(self) -> int:
        """Of tensors, sent to the other processes and received from them so far."""
        return self._wires.num_bytes

    @contextmanager
    def under(self, ops: GroupOps, scales: Scales | None = None) -> Iterator[None]:
        """Passes in here obey ``ops``, and what a layer's groups add counts ``scales[layer]`` times; a model that does
        not train ignores both."""
        self._asked = ops, scales
        try:
            yield
        finally:
            self._asked = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Afterwards what is trained has the gradients of the passes in here."""
        yield
        self._masters.pull()

    @contextmanager
    def scoring(self) -> Iterator[Scoring]:
        """Passes in here are scored, and leave no gradient behind in what belongs to groups."""
        gates = Gates(self._shared.parts, next(self._network.parameters()).device)
        self._gates = gates
        try:
            with gates.open():
                yield Scoring(
                    gates=lambda: self._gathered(gates.rows(), of_gates=True),
                    fisher=lambda: self._gathered(fisher_rows(self._shared.parts), of_gates=False),
                )
        finally:
            self._gates = None
            self._masters.forget()
            self._world.broadcast((FORGET, ()))

    def _gathered(self, own: list[Scores], *, of_gates: bool) -> Scores:
        self._world.broadcast((SCORES, (of_gates,)))
        found = np.zeros((len(self.groups), self.groups.num_groups))
        for process, rows in enumerate(self._world.gather(own)):
            for layer, row in enumerate(rows):
                found[layer, list(self._shared.hosts.groups(layer, process))] = row
        return found

    def _begin(self, network: nn.Module, _: Any) -> None:
        """A pass through the network: every process is told of it."""
        self._masters.push()
        self._wires.settle()
        everything = [[Op.FULL] * self.groups.num_groups] * len(self.groups), None
        ops, scales = everything if self._asked is None or not network.training else self._asked
        backward = network.training and torch.is_grad_enabled()
        asked = Pass(
            ops=tuple(map(tuple, ops)),
            scales=(1.0,) * len(self.groups) if scales is None else tuple(scales),
            training=network.training,
            backward=backward,
            gated=self._gates is not None,
            has_adapters=not any(
                getattr(part.part.module, "disable_adapters", False)
                for row in self._shared.sliced
                for part in row
            ),
            seed=int(torch.randint(2**31, ())) if network.training else 0,
        )
        self._world.broadcast((RUN, (asked,)))
        self._course = Course(asked, self._shared)
        if network.training:
            self.executed.update(op for row in ops for op in row)

    def _core(self, place: Joint, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """In place of what a part's core does."""
        sliced = self._shared.sliced[place[0]][place[1]]
        args, kwargs = self._course.leave(place, args, kwargs)
        if place in self._shared.kept:
            output = self._own(place, sliced.core, original)(*args, **kwargs)
        else:
            output = sliced.nothing(hidden_of(args, kwargs))
            if sliced.num_outputs is not None:
                output = (output, *(None,) * (sliced.num_outputs - 1))
        if not sliced.is_inside:
            return output
        value = self._course.come_back(place, first_of(output))
        return (value, *output[1:]) if isinstance(output, tuple) else value

    def _last(self, place: Joint, original: Callable[..., Any], hidden: Tensor) -> Tensor:
        """In place of a last linear map that is outside of the core."""
        module = self._shared.sliced[place[0]][place[1]].part.module
        if place in self._shared.kept:
            own = self._own(place, module, original)(hidden)
        else:
            own = narrow(module, hidden, inputs=())
        return self._course.come_back(place, own)

    def _own(
        self, place: Joint, module: nn.Module, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        """What a module of a part does for the groups that are here."""

        def run(*args: Any, **kwargs: Any) -> Any:
            asked = self._course.asked
            ops, scale = self._shared.ops(asked, place[0]), asked.scales[place[0]]
            with replaced(module, forward=original):
                patches = self._shared.kept[place].patches(ops, scale)
                forward = next((each for patched, each in patches if patched is module), original)
                return forward(*args, **kwargs)

        return run
