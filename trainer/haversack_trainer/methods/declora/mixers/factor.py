"""A and B are averaged apart (Dec-LoRA, arXiv 2501.15361, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping

from haversack_trainer.exchange.codec import State

from .base import Mixed, averaged


class Factor:
    """Everything is trained, everything is sent, everything is averaged."""

    is_linear = True
    keeps_coordinates = True

    def sends(self, _name: str) -> bool:
        return True

    def trains(self, _name: str, _phase: int) -> bool:
        return True

    def combine(self, shares: Mapping[int, float], states: Mapping[int, State], _me: int) -> Mixed:
        return averaged(shares, states)
