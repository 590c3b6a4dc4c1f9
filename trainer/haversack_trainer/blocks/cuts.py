"""Where one layer is cut into groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor, nn

Runs = tuple[slice, ...]
"""Some places of an axis, as runs of neighbours: they are copied faster than places."""


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

    def columns(self, groups: Sequence[int]) -> Runs:
        """Of the last linear map; ascending groups, neighbours in one run."""
        return self._runs(groups, self.bounds[-1])

    def outputs(self, rows: Rows, num_outputs: int, groups: Sequence[int]) -> Runs:
        """Of one of the maps in ``rows``."""
        return self._runs(groups, num_outputs // rows.num_blocks, rows.num_blocks)

    def _runs(self, groups: Sequence[int], unit: int, num_blocks: int = 1) -> Runs:
        found: list[slice] = []
        bounds = self._scaled(unit)
        for block, group in product(range(num_blocks), groups):
            start, stop = block * unit + bounds[group], block * unit + bounds[group + 1]
            if found and found[-1].stop == start:
                start = found.pop().start
            found.append(slice(start, stop))
        return tuple(found)

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
