"""How many weights a job holds and trains: what memory depends on besides method and batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .adapter import AdapterSpec, AdapterType
from .spec import Footprint

FLOAT_BYTES: Final = 4
DEFAULT_NUM_TARGETS: Final = 2
"""Query and value, as ``LoraSpec.target_modules`` defaults to."""
LIVE_PARAMETERS: Final = 10**8
"""As many a process keeps gathered, beside the layers in use."""
LAYERS_GATHERED: Final = 3
"""The one in use and those that are fetched ahead."""
STATES_KEPT: Final = 2
"""Of the trainables, beside those that are trained: the state at the start and that of the last round."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one peer."""

    frozen_bytes: int
    """Of the base model."""
    trainable: int
    """Number of trained parameters."""

    @property
    def kept_bytes(self) -> int:
        """Copies of the trained parameters that a peer keeps in its own memory."""
        return STATES_KEPT * FLOAT_BYTES * self.trainable

    def in_parts(self, footprint: Footprint, processes: int) -> Weights:
        """Those of one of a pod's processes, where each holds a part of the frozen weights: with the embeddings
        and some layers gathered at the same time."""
        gathered = self.frozen_bytes * LAYERS_GATHERED // footprint.num_layers
        gathered += FLOAT_BYTES * LIVE_PARAMETERS
        gathered += FLOAT_BYTES * footprint.hidden_size * (footprint.vocabulary_size or 0)
        part = -(-self.frozen_bytes // processes)
        return replace(self, frozen_bytes=min(self.frozen_bytes, part + gathered))


def weights_of(footprint: Footprint, adapter: AdapterSpec) -> Weights:
    """Those of a model of this size with what is trained on it."""
    if adapter.type is AdapterType.FULL:
        return Weights(0, footprint.parameters)
    lora = adapter.lora_or_default
    num_targets = len(lora.target_modules or ()) or DEFAULT_NUM_TARGETS
    factors = footprint.num_layers * num_targets * 2 * footprint.hidden_size * lora.rank
    return Weights(FLOAT_BYTES * footprint.parameters, factors)
