"""How a peer takes in its neighbours' adapters: one rule a file, all behind ``base.Mixer``."""

from .base import Mixer
from .registry import mixer_of

__all__ = ["Mixer", "mixer_of"]
