"""Between two steps of a method: the one moment in a round at which nothing is half done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from haversack_trainer.data.batches import Piece
from haversack_trainer.exchange.base import Stop, Stopped
from haversack_trainer.method import Batches, PiecewiseBatches


@dataclass(frozen=True, slots=True)
class AttendedBatches:
    """A method's batches; asking for some is the sign that a step begins."""

    batches: Batches
    stop: Stop
    beat: Callable[[], None]

    @property
    def num_records(self) -> int:
        return self.batches.num_records

    def micro_batches(self, step: int) -> Sequence[Any]:
        """Raises ``Stopped`` once the process was asked to stop."""
        self._begin()
        return self.batches.micro_batches(step)

    def _begin(self) -> None:
        if self.stop():
            raise Stopped("asked to stop")
        self.beat()


@dataclass(frozen=True, slots=True)
class AttendedPieces(AttendedBatches):
    """The same of ``PiecewiseBatches``."""

    batches: PiecewiseBatches

    def pieces(self, step: int, count: int) -> Sequence[Piece]:
        """Raises ``Stopped`` once the process was asked to stop."""
        self._begin()
        return self.batches.pieces(step, count)
