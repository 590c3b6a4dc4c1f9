"""What a round costs one peer: compute, and bytes on its line. Pure; formulas are on each method's ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .adapter import AdapterSpec, AdapterType
from .spec import Footprint
from .weights import weights_of

BITS: Final = 8
BLOB_TRIPS: Final = 3
"""Round trips of an exchange: a blob is put, its record appended and the others' awaited, their blobs fetched."""
RECORD_TRIPS: Final = 1
"""The same where all of it is in records."""
FORWARDS_OF_A_STEP: Final = {AdapterType.LORA: 2.0, AdapterType.FULL: 3.0}
"""A backward pass costs one forward pass for the inputs' gradients and, where all weights are trained, one for theirs."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a round depends on beside the method."""

    trainable: int
    """Number of trained parameters."""
    num_layers: int
    num_peers: int
    forwards_of_a_step: float = FORWARDS_OF_A_STEP[AdapterType.LORA]
    """What an optimizer step, forward and backward, costs in forward passes."""

    @staticmethod
    def of(footprint: Footprint, adapter: AdapterSpec, num_peers: int) -> Work:
        """That of a model of this size with what is trained on it."""
        return Work(
            weights_of(footprint, adapter).trainable,
            footprint.num_layers,
            num_peers,
            FORWARDS_OF_A_STEP[adapter.type],
        )


@dataclass(frozen=True, slots=True)
class Round:
    """One peer's round."""

    steps: float
    """Compute, in optimizer steps (forward and backward) of a whole batch."""
    sent_bytes: float
    num_fetched: float
    """Payloads of others that it fetches, each as long as its own."""
    round_trips: int = BLOB_TRIPS

    @property
    def fetched_bytes(self) -> float:
        return self.sent_bytes * self.num_fetched


@dataclass(frozen=True, slots=True)
class Line:
    """Between a peer and the others, as fast both ways."""

    bits_per_second: float
    latency_seconds: float
    """One way."""

    def seconds(
        self, payload_bytes: float, num_fetched: float, round_trips: int = BLOB_TRIPS
    ) -> float:
        """Of an exchange in which each peer publishes so much and fetches so many payloads."""
        most = payload_bytes * max(1.0, num_fetched)
        return 2 * round_trips * self.latency_seconds + BITS * most / self.bits_per_second

    def exchange_seconds(self, one: Round) -> float:
        """Of the exchange at a round's end."""
        return self.seconds(one.sent_bytes, one.num_fetched, one.round_trips)
