"""The mixers by the names that settings have for them."""

from __future__ import annotations

from typing import Final

from haversack_trainer.methods.declora.kinds import MixerKind

from .alternating import Alternating
from .base import Mixer
from .decaf import Decaf
from .factor import Factor
from .ffa import Ffa
from .rotated import Rotated

_MIXERS: Final[dict[MixerKind, type[Mixer]]] = {
    MixerKind.FACTOR: Factor,
    MixerKind.FFA: Ffa,
    MixerKind.ADF: Alternating,
    MixerKind.DECAF: Decaf,
    MixerKind.FEDROT: Rotated,
}


def mixer_of(kind: MixerKind) -> Mixer:
    """The mixer of this name."""
    return _MIXERS[kind]()
