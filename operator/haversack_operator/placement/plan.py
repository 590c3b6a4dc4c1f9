"""What placement answers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from enum import StrEnum

from haversack_operator.snapshot import Assignment


class Objective(StrEnum):
    """What is best, most important first; amounts are whole numbers, so that sums are exact."""

    PEERS = "peers placed"
    CROSSINGS = "zone crossings"
    STRANDED = "stranded MiB"
    COST = "cost per 10,000 hours"
    HALVINGS = "micro-batch halvings"


@dataclass(frozen=True, slots=True)
class Level:
    """One objective: its value in the plan, and the best value of any plan that equals this one
    in all objectives before."""

    name: Objective
    value: int
    bound: int

    @property
    def gap_percent(self) -> Decimal:
        """0 when proven optimal; rounded up, so that a gap never looks closed when it is not."""
        if self.value == self.bound:
            return Decimal(0)
        gap = Decimal(100) * abs(self.value - self.bound) / max(self.value, self.bound)
        return gap.quantize(Decimal("0.01"), ROUND_UP)


@dataclass(frozen=True, slots=True)
class Plan:
    """A place for at least the gang minimum."""

    assignments: tuple[Assignment, ...]
    """In the order of the peers."""
    levels: tuple[Level, ...]
    """The objectives, most important first."""
    solver: str
    reasons: tuple[str, ...] = ()
    """Which peers are left out, and why, in words."""
    hub_node: str | None = None
    """Where there is room for the hub; None if it was not asked for."""

    @property
    def open_level(self) -> Level | None:
        """The first objective that is not proven optimal; those behind it count only after it."""
        return next((level for level in self.levels if level.gap_percent), None)

    @property
    def gap_percent(self) -> str:
        """Gap of the first objective that is not proven optimal, ``0`` if all are."""
        return str(self.open_level.gap_percent) if self.open_level else "0"


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No plan with the gang minimum."""

    why: str
    """One sentence."""
    reasons: tuple[str, ...]
    """A sentence per pool that falls short."""
    proven: bool
    """False: none was found, but it is not proven that there is none."""
