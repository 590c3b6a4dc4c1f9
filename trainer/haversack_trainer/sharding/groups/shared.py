"""What every process knows of a model whose groups are shared out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from haversack_trainer.blocks import Op
from haversack_trainer.blocks.cuts import Part
from haversack_trainer.blocks.kept import Kept, Place
from haversack_trainer.blocks.routes import Hosts, Transfer, transfers
from haversack_trainer.blocks.sliced import SlicedPart
from haversack_trainer.sharding.wires import Wires
from haversack_trainer.sharding.world import World

from .passing import Pass


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Seen from one process."""

    network: nn.Module
    sliced: Sequence[Sequence[SlicedPart]]
    """``[layer][part]``, of modules that have been left with the groups of this process."""
    kept: Kept
    """What there is of them here."""
    places: Sequence[Place]
    hosts: Hosts
    world: World
    wires: Wires = field(init=False)

    def __post_init__(self) -> None:
        device = next(self.network.parameters()).device
        object.__setattr__(self, "wires", self.world.wires(device))

    @property
    def num_layers(self) -> int:
        return len(self.sliced)

    @property
    def num_parts(self) -> int:
        """Of a layer."""
        return len(self.sliced[0])

    @property
    def parts(self) -> list[list[Part]]:
        """Of each layer those that have groups here."""
        return [
            [
                self.kept[layer, number].part
                for number in range(self.num_parts)
                if (layer, number) in self.kept
            ]
            for layer in range(self.num_layers)
        ]

    def ops(self, asked: Pass, layer: int) -> tuple[Op, ...]:
        """Of the groups here."""
        return self.hosts.ops(layer, self.world.rank, asked.ops[layer])

    def transfers(self, asked: Pass) -> tuple[Transfer, ...]:
        """Of all processes."""
        return transfers(asked.ops, self.hosts, self.num_parts, backward=asked.backward)
