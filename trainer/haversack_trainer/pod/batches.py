"""A pod's samples, shared out over its processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from haversack_trainer.method import Batches
from haversack_trainer.sharding import World

from .team import agreed


@dataclass(frozen=True, slots=True)
class PodBatches:
    """Each process encodes its own samples, once the first one has said that the step begins."""

    world: World
    own: Batches
    attended: Batches | None = None
    """The first process's: asking it for a step looks at the stop flag. It has no samples of its own."""

    @property
    def num_records(self) -> int:
        """Of the peer: all of its processes share them out."""
        return self.own.num_records

    def micro_batches(self, step: int) -> Sequence[Any]:
        """Raises what the first process's ``attended`` raises."""
        agreed(self.world, lambda: self.attended and self.attended.micro_batches(step))
        return self.own.micro_batches(step)


class NoBatches:
    """Where only the question counts."""

    num_records = 0

    def micro_batches(self, step: int) -> Sequence[Any]:  # noqa: ARG002  # the protocol's
        """None."""
        return ()
