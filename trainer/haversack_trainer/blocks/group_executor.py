"""Runs the groups of a network's layers as told: in full, forward only, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from enum import StrEnum
from functools import partial
from typing import Any

from torch import nn

from .errors import BlocksError
from .groups import Groups
from .masks import Masks, masked
from .patch import replaced
from .scores import Scoring, fisher, gated
from .sliced import Patch, SlicedPart
from .sliced_experts import SlicedExperts
from .table import Op

GroupOps = Sequence[Sequence[Op]]
"""``[layer][group]``: what ``OpTable.groups`` gives for a micro-batch."""
Scales = Sequence[float]
"""``[layer]``: how often what its groups add counts; the bias of a last linear map is no group's and counts once."""


class Mode(StrEnum):
    """How operations are carried out."""

    EMULATE = "Emulate"
    """By masks: exact, for any family, and slower than running everything."""
    SLICED = "Sliced"
    """By narrower layers, which saves time and memory; for families that allow it."""


class GroupExecutor:
    """For one network; not safe to use from two threads. What belongs to no group (norms, biases of the
    last linear maps, embeddings, the head) always runs in full. Raises ``BlocksError`` where the model
    cannot be sliced; some are found out in the first pass only."""

    def __init__(self, groups: Groups, mode: Mode = Mode.EMULATE) -> None:
        self.groups = groups
        self._sliced = [
            [SlicedExperts(p) if p.is_experts else SlicedPart(module, p) for p in parts]
            for module, parts in zip(groups.layers.modules, groups.parts, strict=True)
            if mode is Mode.SLICED
        ]
        self.executed: Counter[Op] = Counter()
        """Cells (layer, group) that were met with each operation, in training; of a batch whose samples
        have operations of their own, those of each sample."""

    @property
    def sliced(self) -> list[list[SlicedPart]]:
        """``[layer][part]``, of Sliced. Raises ``BlocksError`` where they are more than narrower linear maps."""
        found = [[part for part in row if isinstance(part, SlicedPart)] for row in self._sliced]
        if any(len(row) < len(parts) for row, parts in zip(found, self.groups.parts, strict=True)):
            name = type(self.groups.layers.modules[0]).__name__
            raise BlocksError(f"the experts of {name} cannot be on several processes")
        return found

    @contextmanager
    def under(self, ops: GroupOps, scales: Scales | None = None) -> Iterator[None]:
        """Forward and backward passes in here obey ``ops``, and what a layer's groups add counts ``scales[layer]``
        times; a model that does not train ignores both."""
        with self.under_samples([ops], scales):
            yield

    @property
    def num_bytes(self) -> int:
        """That went from process to process: none."""
        return 0

    def step(self) -> AbstractContextManager[None]:
        """Afterwards what is trained has the gradients of the passes in here: here it has them at once."""
        return nullcontext()

    @contextmanager
    def scoring(self) -> Iterator[Scoring]:
        """Passes in here, under no table, are scored."""
        with gated(self.groups) as gates:
            yield Scoring(gates.scores, partial(fisher, self.groups))

    @contextmanager
    def under_samples(
        self, samples: Sequence[GroupOps], scales: Scales | None = None
    ) -> Iterator[None]:
        """The same with ``ops`` for each sample of the batch, which cannot be sliced."""
        if not samples or any(self._shape_differs(ops) for ops in samples):
            count = len(self.groups)
            raise BlocksError(
                f"operations for {count} layers of {self.groups.num_groups} groups are needed, "
                "for each sample alike"
            )
        if self._sliced and len(samples) > 1:
            raise BlocksError(
                "samples of one batch cannot be sliced apart; choose emulate instead of sliced"
            )
        with ExitStack() as stack:
            for layer, module in enumerate(self.groups.layers.modules):
                of_layer = [ops[layer] for ops in samples]
                counted = self._counted(module, of_layer)
                stack.enter_context(replaced(module, forward=counted))
                scale = 1.0 if scales is None else scales[layer]
                for part, forward in self._patches(layer, of_layer, scale):
                    stack.enter_context(replaced(part, forward=forward))
            yield

    def _patches(self, layer: int, samples: Sequence[Sequence[Op]], scale: float) -> list[Patch]:
        if self._sliced:
            sliced = self._sliced[layer]
            return [patch for part in sliced for patch in part.patches(samples[0], scale)]
        masks = Masks.of(samples, scale)
        return [(part.module, masked(part, masks)) for part in self.groups.parts[layer]]

    def _shape_differs(self, ops: GroupOps) -> bool:
        return [len(row) for row in ops] != [self.groups.num_groups] * len(self.groups)

    def _counted(self, layer: nn.Module, samples: Sequence[Sequence[Op]]) -> Callable[..., Any]:
        """Outside of the checkpoint, if there is one: what is computed again is not counted again."""
        original = layer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if layer.training:
                for ops in samples:
                    self.executed.update(ops)
            return original(*args, **kwargs)

        return forward
