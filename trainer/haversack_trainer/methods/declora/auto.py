"""``mixer: Auto``: factor mixing until it costs too much. Decided from the log, so by all alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from .kinds import MixerKind
from .settings import BIAS_PERCENT, Settings
from .word import Word

SPARSE_RHO: Final = 0.8
"""From here on, resting one factor pays more than averaging products; TAD-LoRA saw no gain on dense graphs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a peer takes from one round to the next."""

    rho: float = 0.0
    """How the newest graph mixes."""
    bias: float = 0.0
    """Bound on the product's bias over the product's norm, as seen on it."""
    moved: bool = False
    """Whether the factor mixer has been left."""


def has_moved(settings: Settings, words: Mapping[int, Word]) -> bool:
    """Whether the rounds after the one with these words are mixed by another mixer than Factor.

    Somebody has moved before, or the median peer's bias is over the limit: one peer that is wrong or lies does
    not move the others.
    """
    if settings.mixer is not MixerKind.AUTO or not words:
        return False
    limit = (settings.bias_percent or BIAS_PERCENT) / 100
    return moved_before(words) or median(word.bias for word in words.values()) > limit


def moved_before(words: Mapping[int, Word]) -> bool:
    """Whether this very round is mixed by another mixer: more than half of the peers say so."""
    moved = [word.has_moved for word in words.values()]
    return 2 * sum(moved) > len(moved)


def choose(settings: Settings, rho: float, *, moved: bool) -> MixerKind:
    """The mixer in force on a graph that mixes with ``rho``."""
    if settings.privacy is not None:
        return MixerKind.FFA
    if settings.mixer is not MixerKind.AUTO:
        return settings.mixer
    if not moved:
        return MixerKind.FACTOR
    keeps_coordinates = settings.is_chained or settings.max_staleness is not None
    return MixerKind.ADF if keeps_coordinates or rho >= SPARSE_RHO else MixerKind.DECAF


def in_force(settings: Settings, standing: Standing) -> dict[str, float]:
    """For the report: the mixer that Auto has chosen for the next round."""
    if settings.mixer is not MixerKind.AUTO:
        return {}
    kind = choose(settings, standing.rho, moved=standing.moved)
    return {f"mixer_{kind.lower()}": 1.0}
