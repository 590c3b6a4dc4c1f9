"""One factor is trained at a time, both are mixed (ADF-LoRA, arXiv 2511.18291; TAD-LoRA, 2602.00451)."""

from __future__ import annotations

from math import sqrt
from typing import Final

from .base import A, B
from .factor import Factor

MAX_PHASE_ROUNDS: Final = 15
_SCALE: Final = 2.0


class Alternating(Factor):
    """B in even phases, A in odd ones. While a factor rests, mixing brings it to consensus, and the product's bias
    goes with the disagreement of both."""

    def trains(self, name: str, phase: int) -> bool:
        return (A if phase % 2 == 0 else B) not in name


def phase_rounds(rho: float) -> int:
    """Rounds of a phase: as many as it takes to mix, ``2 / sqrt(1 - rho)``, from 1 to 15.

    TAD-LoRA gives the order of magnitude; the factor 2 is ours: 6 on a ring of ten, 2 on a complete graph.
    """
    slow = max(1.0 - rho, 1e-6)
    return min(max(round(_SCALE / sqrt(slow)), 1), MAX_PHASE_ROUNDS)
