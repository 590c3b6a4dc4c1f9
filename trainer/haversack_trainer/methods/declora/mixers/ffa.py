"""A stays what the seed made it, only B is trained and sent (FFA-LoRA, Sun et al., arXiv 2403.12313)."""

from __future__ import annotations

from .base import A
from .factor import Factor


class Ffa(Factor):
    """All have the same A, so the mean of B gives exactly the mean of B·A, at about half the bytes."""

    def sends(self, name: str) -> bool:
        return A not in name

    def trains(self, name: str, _phase: int) -> bool:
        return A not in name
