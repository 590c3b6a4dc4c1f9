"""A model whose groups go to the processes of a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from haversack_trainer.blocks import GroupExecutor, Groups, Mode
from haversack_trainer.blocks.kept import keep, keep_nothing_else, places
from haversack_trainer.blocks.routes import Hosts
from haversack_trainer.model.held import Held, InModule
from haversack_trainer.sharding.world import World

from .first import FirstProcess
from .others import Other
from .shared import Shared
from .values import Masters


class Shareable(Protocol):
    """A ``FineTuned`` model, as far as its groups are shared out."""

    @property
    def network(self) -> nn.Module:
        """What is shared out."""

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        """Canonical name and parameter."""

    def share_out(self, held: Held, /) -> None:
        """From now on the weights are in parts."""


def open_first(model: Shareable, tried: GroupExecutor, hosts: Hosts, world: World) -> FirstProcess:
    """On the first process, while ``open_other`` is called on all others with the same groups and ``hosts``.
    ``tried``: has been through a pass. Raises ``BlocksError``."""
    sliced = tried.sliced
    found = places(sliced, hosts)
    trainables, originals = model.trainables(), [place.here for place in found]
    kept = keep(sliced, found, hosts, world.rank)
    shared = Shared(model.network, sliced, kept, found, hosts, world)
    masters = Masters(trainables, originals, shared)
    model.share_out(masters)
    return FirstProcess(shared, tried.groups, masters)


def open_other(
    model: Shareable, groups: Groups, hosts: Hosts, world: World
) -> Mapping[str, Callable[..., Any]]:
    """What the process does for the first one, by name."""
    sliced = GroupExecutor(groups, Mode.SLICED).sliced
    found = places(sliced, hosts)
    kept = keep(sliced, found, hosts, world.rank)
    keep_nothing_else(model.network, kept)
    model.share_out(InModule(()))
    return Other(Shared(model.network, sliced, kept, found, hosts, world)).actions
