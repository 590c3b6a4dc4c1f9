"""Averaging of factors, and how far apart they are. Pure.

Sums run in fp64 and in ascending order of peer, and are rounded to fp32 once: the same inputs give the same
bits everywhere, and the network's mean moves by rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.exchange.codec import State

Weights = NDArray[np.float64]
"""Shape (n, n): symmetric, doubly stochastic."""


def among(weights: Weights, valid: NDArray[np.bool_]) -> Weights:
    """``weights`` with every edge to an invalid member given back to the edge's two ends: still symmetric
    and doubly stochastic, so the mean of the valid members' states is preserved."""
    kept = np.where(np.outer(valid, valid), weights, 0.0)
    np.fill_diagonal(kept, 0.0)
    np.fill_diagonal(kept, 1.0 - kept.sum(axis=1))
    return kept


def combine(
    shares: Mapping[int, float], states: Mapping[int, State]
) -> dict[str, NDArray[np.float32]]:
    """``sum of share · state``, peers in ascending order, each tensor by itself."""
    peers = sorted(shares)
    return {
        name: _weighted([(shares[peer], states[peer][name]) for peer in peers]).astype(np.float32)
        for name in states[peers[0]]
    }


def mean(states: Mapping[int, State]) -> dict[str, NDArray[np.float32]]:
    """The plain average."""
    return combine(dict.fromkeys(states, 1 / len(states)), states)


def disagreement(states: Mapping[int, State]) -> dict[str, float]:
    """What the peer sees of the network's disagreement: over itself and its neighbours.

    With Xi_X the mean of ||X_i - mean X||^2, mixing A and B apart instead of their product costs at most
    sqrt(Xi_A·Xi_B) in Frobenius norm: a covariance of disagreements, zero at consensus.
    """
    xi = _spread(list(states.values()))
    of_a = sum(value for name, value in xi.items() if "lora_A" in name)
    of_b = sum(value for name, value in xi.items() if "lora_B" in name)
    return {
        "consensus_distance": sum(xi.values()) ** 0.5,
        "product_bias_bound": (of_a * of_b) ** 0.5,
    }


def _spread(states: list[State]) -> dict[str, float]:
    """Xi of each tensor."""
    share = 1 / len(states)
    centres = {name: _weighted([(share, s[name]) for s in states]) for name in states[0]}
    return {
        name: share * sum(float(np.square(s[name] - centre).sum()) for s in states)
        for name, centre in centres.items()
    }


def _weighted(parts: list[tuple[float, NDArray[np.float32]]]) -> NDArray[np.float64]:
    total = np.zeros(parts[0][1].shape)
    for share, values in parts:
        total += share * values.astype(np.float64)
    return total
