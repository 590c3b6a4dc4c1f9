"""What Dec-LoRA's settings ask of a model."""

from __future__ import annotations

from haversack_trainer.exchange.codec import State
from haversack_trainer.method import Unsuited

from .kinds import MixerKind
from .mixers.base import pairs


def check_factors(kind: MixerKind, state: State, field: str) -> None:
    """Raises ``Unsuited`` where a mixer has no factors to mix; ``field``: where the settings are in the job."""
    if kind is not MixerKind.FACTOR and not pairs(state):
        raise Unsuited(
            f"{field}.mixer is {kind}, but what is trained has no LoRA factors; write Factor"
        )
