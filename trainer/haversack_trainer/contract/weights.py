"""How many weights a job holds and trains: what memory depends on besides method and batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .adapter import AdapterSpec, AdapterType
from .spec import Footprint, Quantization

FLOAT_BYTES: Final = 4
DEFAULT_NUM_TARGETS: Final = 2
"""Query and value, as ``LoraSpec.target_modules`` defaults to."""
LIVE_PARAMETERS: Final = 10**8
"""As many a process keeps gathered, beside the layers in use."""
LAYERS_GATHERED: Final = 3
"""The one in use and those that are fetched ahead."""
STATES_KEPT: Final = 2
"""Of the trainables, beside those that are trained: the state at the start and that of the last round."""
NF4_BYTES: Final = 0.5 + FLOAT_BYTES / 64
"""Of a weight: its code, and its share of a block's scale."""
EMBEDDINGS: Final = 2
"""Matrices as wide as the vocabulary: of the tokens, and of the logits where that is not the same."""
WIDEST: Final = 4
"""Times a hidden state's width: what a usual model's widest layer has on its other side."""
UNPACKED: Final = 2
"""Copies of a layer's weights while they are unpacked."""


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


def weights_of(
    footprint: Footprint, adapter: AdapterSpec, quantization: Quantization = Quantization.NONE
) -> Weights:
    """Those of a model of this size with what is trained on it."""
    if adapter.type is AdapterType.FULL:
        return Weights(0, footprint.parameters)
    lora = adapter.lora_or_default
    num_targets = len(lora.target_modules or ()) or DEFAULT_NUM_TARGETS
    factors = footprint.num_layers * num_targets * 2 * footprint.hidden_size * lora.rank
    return Weights(_frozen_bytes(footprint, quantization), factors)


def _frozen_bytes(footprint: Footprint, quantization: Quantization) -> int:
    """Embeddings are never quantised, so without a vocabulary's size nothing can be reckoned with less."""
    if quantization is Quantization.NONE or footprint.vocabulary_size is None:
        return FLOAT_BYTES * footprint.parameters
    width = footprint.hidden_size
    whole = min(footprint.parameters, EMBEDDINGS * footprint.vocabulary_size * width)
    unpacked = UNPACKED * WIDEST * width**2
    packed = round((footprint.parameters - whole) * NF4_BYTES)
    return FLOAT_BYTES * (whole + unpacked) + packed
