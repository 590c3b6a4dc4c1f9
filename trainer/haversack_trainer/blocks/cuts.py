"""Where one layer is cut into groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A linear map whose outputs belong to groups: query, key, value; gate, up."""

    name: str
    """Dotted, inside the layer."""
    module: nn.Module
    num_blocks: int
    """Outputs are so many runs through the groups, one after the other: 3 for GPT-2's fused map."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One place of a layer where groups meet: the input of its last linear map, or its experts."""

    name: str
    """Dotted, inside the layer."""
    module: nn.Module
    """The linear map, peft's wrapper around it, or a mixture's fused experts."""
    bounds: tuple[int, ...]
    """Group g has ``bounds[g]`` to ``bounds[g + 1]`` of the input's width, or of the experts."""
    rows: tuple[Rows, ...]
    is_experts: bool = False

    @property
    def num_groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in pairwise(self.bounds))

    def columns(self, groups: Iterable[int]) -> list[int]:
        """Of the last linear map, or numbers of experts."""
        return [n for group in groups for n in range(self.bounds[group], self.bounds[group + 1])]

    def outputs(self, rows: Rows, num_outputs: int, groups: Iterable[int]) -> list[int]:
        """Of one of the maps in ``rows``."""
        unit = num_outputs // rows.num_blocks
        bounds = self._scaled(unit)
        inside = [n for group in groups for n in range(bounds[group], bounds[group + 1])]
        return [block * unit + n for block in range(rows.num_blocks) for n in inside]

    def sums(self, values: Tensor, num_blocks: int = 1) -> Tensor:
        """Of a figure per row, column or expert: its sum over each group, ``[g]``."""
        once = values.view(num_blocks, -1).sum(0)
        ends = torch.tensor(self._scaled(len(once)), device=values.device)
        running = torch.cat([once.new_zeros(1), once.cumsum(0)])
        return running[ends].diff()

    def _scaled(self, unit: int) -> list[int]:
        """Bounds, of something that is cut alike."""
        return [bound * unit // self.bounds[-1] for bound in self.bounds]


def cut(width: int, num_groups: int) -> tuple[int, ...]:
    """Bounds of equal slices, the last one shorter where they do not come out even; where that would leave
    none for it, slices differ by one at most."""
    each = -(-width // num_groups)
    if each * (num_groups - 1) < width:
        return (*(each * group for group in range(num_groups)), width)
    return tuple(width * group // num_groups for group in range(num_groups + 1))
