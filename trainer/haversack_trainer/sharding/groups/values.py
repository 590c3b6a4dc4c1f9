"""What is trained of groups: whole on the first process, and on each the part that it computes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from haversack_trainer.blocks.kept import Extent, Place
from haversack_trainer.blocks.routes import FIRST
from haversack_trainer.model.held import InModule
from haversack_trainer.sharding.wires import Wires

from .passing import GIVE, SHOW, TAKE
from .shared import Shared

Resting = frozenset[int]
"""Numbers of places that are not trained for the time being."""


class OwnValues:
    """A process's parameters of groups, as one flat tensor."""

    def __init__(self, places: Sequence[Place], process: int) -> None:
        self._places, self._process = places, process
        self._shapes = {
            number: extent.of(torch.empty(place.shape, device="meta")).shape
            for number, place in enumerate(places)
            if (extent := place.extents[process]) is not None
        }

    def shape(self, number: int) -> torch.Size:
        """Of what the process has of a place."""
        return self._shapes[number]

    def trained(self, resting: Resting) -> Iterator[tuple[int, Place, Extent]]:
        """Those that are trained now and of which the process has something, with their numbers."""
        for number, place in enumerate(self._places):
            extent = place.extents[self._process]
            if place.is_trained and number not in resting and extent is not None:
                yield number, place, extent

    def size(self, resting: Resting) -> int:
        """Numbers in ``take`` and ``give``."""
        return sum(self._shapes[number].numel() for number, *_ in self.trained(resting))

    @torch.no_grad()
    def take(self, flat: Tensor, resting: Resting) -> None:
        """The values that are computed with from now on."""
        for number, place in enumerate(self._places):
            if place.is_trained and place.extents[self._process] is not None:
                place.here.requires_grad_(number not in resting)
        parameters = [place.here for _, place, _ in self.trained(resting)]
        for parameter, values in zip(
            parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True
        ):
            parameter.copy_(values.view_as(parameter))

    def give(self, resting: Resting) -> Tensor:
        """The gradients so far, which are then forgotten."""
        found = [
            torch.zeros_like(place.here) if place.here.grad is None else place.here.grad
            for _, place, _ in self.trained(resting)
        ]
        self.forget()
        return torch.cat([gradient.reshape(-1) for gradient in found])

    def forget(self) -> None:
        """The gradients so far."""
        for place in self._places:
            if place.is_trained and place.extents[self._process] is not None:
                place.here.grad = None


class Masters:
    """A ``Held``, on the first process: all that is trained is whole there, groups' values in parameters of their own."""

    def __init__(
        self,
        trainables: Sequence[tuple[str, nn.Parameter]],
        originals: Sequence[nn.Parameter],
        shared: Shared,
    ) -> None:
        """``originals``: the parameters at the places as they were before they were cut."""
        self._held, places = InModule(trainables), shared.places
        self._places, self._world, self._wires = places, shared.world, shared.wires
        self._wholes = {n: p for n, p in enumerate(originals) if places[n].is_trained}
        self._own = [OwnValues(places, process) for process in range(shared.world.size)]
        self._told: tuple[Resting, tuple[int, ...]] | None = None

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        return self._held.trainables()

    def state(self) -> dict[str, Tensor]:
        return self._held.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._held.load(state)

    @torch.no_grad()
    def whole(self, tensor: Tensor) -> Tensor:
        number = next((n for n, p in enumerate(self._places) if p.here is tensor), None)
        if number is None or number in self._wholes:
            return tensor.detach() if number is None else self._wholes[number].detach()
        self._world.broadcast((SHOW, (number,)))
        place = self._places[number]
        found = torch.zeros(place.shape, dtype=tensor.dtype, device=tensor.device)
        for process, extent in enumerate(place.extents):
            if extent is not None and (extent.runs is not None or process == FIRST):
                extent.add(found, self._of(process, number))
        return found

    def _of(self, process: int, number: int) -> Tensor:
        here = self._places[number].here
        if process == FIRST:
            return here.detach()
        return self._wires.receive(self._own[process].shape(number), here.dtype, process)

    @torch.no_grad()
    def push(self) -> None:
        """Let every process compute with the values of now, if they have changed."""
        resting = frozenset(n for n, whole in self._wholes.items() if not whole.requires_grad)
        # Whoever changes a tensor, its version counts it.
        now = resting, tuple(whole._version for whole in self._wholes.values())  # noqa: SLF001
        if now == self._told:
            return
        self._told = now
        self._world.broadcast((TAKE, (resting,)))
        for process in self._with_some(resting):
            flat = self._flat(process, resting)
            if process == FIRST:
                self._own[FIRST].take(flat, resting)
            else:
                self._wires.send(flat, process)
        self._wires.settle()

    def _flat(self, process: int, resting: Resting) -> Tensor:
        pieces = [
            extent.of(self._wholes[n]).reshape(-1)
            for n, _, extent in self._own[process].trained(resting)
        ]
        return torch.cat(pieces)

    def _with_some(self, resting: Resting) -> list[int]:
        return [process for process, own in enumerate(self._own) if own.size(resting)]

    @torch.no_grad()
    def pull(self) -> None:
        """Add the processes' gradients, in their order, to those of the whole."""
        if self._told is None:
            return
        resting = self._told[0]
        self._world.broadcast((GIVE, (resting,)))
        for number, whole in self._wholes.items():
            if number not in resting and whole.grad is None:
                whole.grad = torch.zeros_like(whole)
        for process in self._with_some(resting):
            self._add(process, resting)

    def _add(self, process: int, resting: Resting) -> None:
        own = self._own[process]
        some = next(iter(self._wholes.values()))
        flat = (
            own.give(resting)
            if process == FIRST
            else self._wires.receive((own.size(resting),), some.dtype, process)
        )
        held = list(own.trained(resting))
        shapes = [own.shape(number) for number, *_ in held]
        for (number, _, extent), shape, values in zip(
            held, shapes, torch.split(flat, [shape.numel() for shape in shapes]), strict=True
        ):
            gradient = self._wholes[number].grad
            if gradient is not None:
                extent.add(gradient, values.view(shape))

    def forget(self) -> None:
        """The gradients of the first process's own groups."""
        self._own[FIRST].forget()


def value_actions(
    places: Sequence[Place], process: int, wires: Wires
) -> dict[str, Callable[..., None]]:
    """What another process does for ``Masters``."""
    own = OwnValues(places, process)

    def take(resting: Resting) -> None:
        if size := own.size(resting):
            some = next(place.here for _, place, _ in own.trained(resting))
            own.take(wires.receive((size,), some.dtype, FIRST), resting)

    def give(resting: Resting) -> None:
        if own.size(resting):
            wires.send(own.give(resting), FIRST)
            wires.settle()

    def show(number: int) -> None:
        extent = places[number].extents[process]
        if extent is not None and extent.runs is not None:
            wires.send(places[number].here, FIRST)
            wires.settle()

    return {TAKE: take, GIVE: give, SHOW: show}
