"""What each part of the network does with each micro-batch: a frozen table. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Op(Enum):
    """D2FT's three operations (arXiv 2504.12471); DropPEFT uses the first and the last."""

    FULL = "F"
    FORWARD = "O"
    """Forward only: the value counts, no gradient passes through."""
    SKIP = "S"
    """Neither: the hidden state goes by."""


@dataclass(frozen=True, slots=True)
class OpTable:
    """``ops[layer][group][micro-batch]``; a group is a slice of the layer's heads and feed-forward width."""

    ops: tuple[tuple[tuple[Op, ...], ...], ...]

    def __post_init__(self) -> None:
        shapes = {(len(groups), *map(len, groups)) for groups in self.ops}
        if len(shapes) != 1 or len(set(next(iter(shapes))[1:])) != 1:
            raise ValueError(
                "every layer needs the same groups, every group the same micro-batches"
            )

    @classmethod
    def of_layers(cls, ops: Iterable[Iterable[Op]]) -> OpTable:
        """``ops[layer][micro-batch]``: every layer is one group."""
        return cls(tuple((tuple(row),) for row in ops))

    @classmethod
    def dropping(cls, dropped: Iterable[Iterable[bool]]) -> OpTable:
        """``dropped[micro-batch][layer]``: whole layers, skipped or run."""
        by_layer = zip(*dropped, strict=True)
        return cls.of_layers([Op.SKIP if drop else Op.FULL for drop in row] for row in by_layer)

    @property
    def num_layers(self) -> int:
        return len(self.ops)

    @property
    def num_groups(self) -> int:
        return len(self.ops[0])

    @property
    def num_micro_batches(self) -> int:
        return len(self.ops[0][0])

    def layers(self, micro_batch: int) -> tuple[Op, ...]:
        """The operation of each whole layer. Raises ``ValueError`` where a layer's groups differ."""
        found = []
        for groups in self.ops:
            (op, *others) = {row[micro_batch] for row in groups}
            if others:
                raise ValueError("a layer's groups differ: it has no one operation")
            found.append(op)
        return tuple(found)

    def groups(self, micro_batch: int) -> tuple[tuple[Op, ...], ...]:
        """``[layer][group]``."""
        return tuple(tuple(row[micro_batch] for row in groups) for groups in self.ops)

    def count(self, op: Op) -> int:
        """Cells with this operation."""
        return sum(row.count(op) for groups in self.ops for row in groups)
