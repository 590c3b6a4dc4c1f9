"""What a round of Dec-LoRA costs a peer. No torch and no NumPy here: jobs are planned with it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from haversack_trainer.contract import forecast
from haversack_trainer.contract.traffic import Round, Work

from .kinds import DEGREE, EDGE_PERCENT, Codec, Graph, MixerKind
from .settings import Settings

HEADER_BYTES: Final = 40
"""Of a blob; ``exchange.codec`` and ``exchange.quantised`` write it."""
_BLOCK_SCALE: Final = 2 / 64
"""Bytes for each value of what a block shares."""
VALUE_BYTES: Final = {
    Codec.FLOAT32: 4.0,
    Codec.INT8: 1 + _BLOCK_SCALE,
    Codec.INT4: 0.5 + _BLOCK_SCALE,
}


class Forecast(forecast.Forecast[Settings]):
    """K local steps, then the factors of each neighbour."""

    def a_round(self, settings: Settings, work: Work) -> Round:
        # Of A and B, which are about equally long, FFA sends one.
        sent = work.trainable / 2 if settings.mixer is MixerKind.FFA else work.trainable
        size = HEADER_BYTES + VALUE_BYTES[settings.codec] * sent
        return Round(settings.local_steps, size, _degree(settings, work.num_peers))


def _degree(settings: Settings, num_peers: int) -> float:
    """Neighbours of a peer, on average; of the one with most where that is uneven. What is not known yet counts as
    a regular graph's."""
    others = num_peers - 1
    wanted: float
    match settings.graph:
        case Graph.MATCHINGS:
            wanted = 1
        case Graph.RING:
            wanted = 2
        case Graph.EXPONENTIAL:
            hops = {2**k for k in range(num_peers.bit_length()) if 2**k < num_peers}
            wanted = len(hops | {num_peers - hop for hop in hops})
        case Graph.ERDOS_RENYI:
            wanted = others * (settings.edge_percent or EDGE_PERCENT) / 100
        case Graph.EDGES:
            ends = Counter(end for edge in settings.edge_pairs for end in edge)
            wanted = max(ends.values(), default=0)
        case Graph.REGULAR | Graph.MEASURED_LINKS:
            wanted = settings.degree or DEGREE
        case Graph.COMPLETE | Graph.STAR:
            wanted = others
    return min(wanted, others)
