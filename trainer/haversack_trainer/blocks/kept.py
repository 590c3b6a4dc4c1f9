"""Some groups of a model's layers, and of the others not even the weights: what each of several processes keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .linear import base_of, features, is_transposed
from .narrow import Pick, picked
from .routes import FIRST, Hosts
from .sliced import SlicedPart

Kept = Mapping[tuple[int, int], SlicedPart]
"""Of a process: by layer and part, those that have groups there."""


class Extent(NamedTuple):
    """Where a process's values of a parameter are in the whole of it."""

    axis: int
    runs: Pick
    """None: it has all of them, as every process has that needs the parameter."""

    def of(self, whole: Tensor) -> Tensor:
        """The process's values, a view where they are neighbours."""
        return picked(whole, self.axis, self.runs)

    def add(self, whole: Tensor, own: Tensor) -> None:
        """Add a process's values to theirs in the whole."""
        if self.runs is None:
            whole += own
            return
        sizes = [run.stop - run.start for run in self.runs]
        for run, piece in zip(self.runs, torch.split(own, sizes, self.axis), strict=True):
            whole.narrow(self.axis, run.start, run.stop - run.start).add_(piece)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A parameter that belongs to groups."""

    owner: nn.Module
    attribute: str
    shape: torch.Size
    """Of the whole."""
    is_trained: bool
    extents: tuple[Extent | None, ...]
    """Of each process; None where it has nothing of it."""

    @property
    def here(self) -> nn.Parameter:
        """What this process has of it."""
        return getattr(self.owner, self.attribute)  # type: ignore[no-any-return]  # a module's attribute


def places(sliced: Sequence[Sequence[SlicedPart]], hosts: Hosts) -> list[Place]:
    """Of a model that is still whole, in an order that is the same on every process."""
    found = []
    for layer, parts in enumerate(sliced):
        of_process = [hosts.groups(layer, process) for process in range(hosts.num_processes)]
        for part in parts:
            spots = [list(_spots(part, groups)) for groups in of_process]
            for alike in zip(*spots, strict=True):
                owner, attribute, _ = alike[0]
                extents = tuple(
                    extent if groups or process == FIRST else None
                    for process, (groups, (*_, extent)) in enumerate(
                        zip(of_process, alike, strict=True)
                    )
                )
                whole = getattr(owner, attribute)
                found.append(Place(owner, attribute, whole.shape, whole.requires_grad, extents))
    return found


def keep(
    sliced: Sequence[Sequence[SlicedPart]], found: Sequence[Place], hosts: Hosts, process: int
) -> Kept:
    """Let the other processes' weights go."""
    for place in found:
        extent = place.extents[process]
        if extent is not None:
            values = extent.of(place.here.detach()).clone()
            setattr(place.owner, place.attribute, nn.Parameter(values, place.is_trained))
    narrowed = {
        (layer, number): _narrowed(part, hosts.groups(layer, process))
        for layer, parts in enumerate(sliced)
        for number, part in enumerate(parts)
    }
    return {place: part for place, part in narrowed.items() if part is not None}


@torch.no_grad()
def keep_nothing_else(network: nn.Module, kept: Kept) -> None:
    """On a process that runs groups only: the rest of the network loses its weights, and what groups share but do not
    add to (the bias of a last linear map) is added by the first process."""
    parts = list(kept.values())
    mine = {
        id(parameter)
        for part in parts
        for module in (part.core, part.part.module)
        for parameter in module.parameters()
    }
    for parameter in network.parameters():
        parameter.grad = None
        if id(parameter) not in mine:
            parameter.requires_grad_(False)
            parameter.data = parameter.new_empty(0)
    for part in parts:
        base = base_of(part.part.module)
        if base.bias is not None:
            base.bias.requires_grad_(False).zero_()


def _spots(sliced: SlicedPart, groups: Sequence[int]) -> Iterator[tuple[nn.Module, str, Extent]]:
    """The parameters of a part, and which of their values some groups have."""
    part, seen = sliced.part, set()
    maps: list[tuple[Any, int, Pick]] = [
        (rows.module, 0, part.outputs(rows, shape[1], groups))
        for rows in part.rows
        if (shape := features(rows.module))
    ]
    for module, axis, pick in [*maps, (part.module, 1, part.columns(groups))]:
        for owner, attribute, extent in _of_map(module, axis, pick):
            seen.add(id(getattr(owner, attribute)))
            yield owner, attribute, extent
    last_bias = base_of(part.module).bias
    for owner in sliced.core.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in seen and parameter is not last_bias:
                yield owner, name, Extent(0, None)


def _of_map(module: Any, axis: int, pick: Pick) -> Iterator[tuple[nn.Module, str, Extent]]:
    """Of a linear map of which some outputs (axis 0) or inputs (axis 1) are picked. The bias of one whose inputs are
    is nobody's."""
    base = base_of(module)
    yield base, "weight", Extent(1 - axis if is_transposed(base) else axis, pick)
    if axis == 0 and base.bias is not None:
        yield base, "bias", Extent(0, pick)
    for name in getattr(module, "lora_A", {}):
        down, up = module.lora_A[name], module.lora_B[name]
        yield down, "weight", Extent(1, pick if axis == 1 else None)
        yield up, "weight", Extent(0, pick if axis == 0 else None)


def _narrowed(sliced: SlicedPart, groups: Sequence[int]) -> SlicedPart | None:
    """The part as it is with these groups alone, whose weights the modules have already been left with."""
    part = sliced.part
    for name, value in sliced.counts.items():
        setattr(sliced.core, name, value * len(groups) // part.num_groups)
    for rows in part.rows:
        _tell_width(rows.module)
    _tell_width(part.module)
    if not groups:
        return None
    bounds = (0, *accumulate(part.widths[group] for group in groups))
    return sliced.narrowed(replace(part, bounds=bounds))


def _tell_width(module: Any) -> None:
    """Have a linear map say how wide it is now."""
    base = base_of(module)
    for each in (
        base,
        *getattr(module, "lora_A", {}).values(),
        *getattr(module, "lora_B", {}).values(),
    ):
        outputs, inputs = each.weight.shape[::-1] if is_transposed(each) else each.weight.shape
        if is_transposed(each):
            each.nx, each.nf = inputs, outputs
        else:
            each.in_features, each.out_features = inputs, outputs
