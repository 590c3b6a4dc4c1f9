"""Means, and how far apart the peers are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Final

import numpy as np

from haversack_trainer.exchange.codec import State
from haversack_trainer.exchange.topology import Topology

from .mixers.base import A, B, Mixed, pairs, weighted

_MOST_BIAS: Final = 1e6
"""Where there is no product yet to measure it by."""


def open_shares(network: Topology, me: int, shut: frozenset[int]) -> dict[int, float]:
    """Row ``me`` of Q, in which the weight of a shut edge goes to its own end, as it does at the other: what is
    symmetric stays so, and the mean is preserved."""
    row = {peer: share for peer, share in network.row(me).items() if peer == me or peer not in shut}
    others = sum(share for peer, share in row.items() if peer != me)
    return row | {me: 1.0 - others} if shut else row


def towards(own: State, sent: State, mixed: Mixed, gain: float) -> Mixed:
    """``own + gain·(mixed - sent)``: the step that leaves the mean where it is, ``sent`` being what all others
    take ``own`` to be."""
    return {
        name: (own[name] + gain * (values.astype(np.float64) - sent[name])).astype(np.float32)
        for name, values in mixed.items()
    }


def disagreement(states: Mapping[int, State]) -> dict[str, float]:
    """What the peer sees of the network's disagreement: over itself and its neighbours.

    With Xi_X the mean of ||X_i - mean X||^2, mixing A and B apart instead of their product costs at most
    sqrt(Xi_A·Xi_B) in Frobenius norm: a covariance of disagreements, zero at consensus. In percent it is
    measured by the product of the means, the update as it stands.
    """
    shares = dict.fromkeys(states, 1 / len(states))
    names = states[min(states)]
    centre = {name: weighted(shares, states, name) for name in names}
    xi = {
        name: sum(float(np.square(state[name] - centre[name]).sum()) for state in states.values())
        / len(states)
        for name in names
    }
    bound = sqrt(
        sum(value for name, value in xi.items() if A in name)
        * sum(value for name, value in xi.items() if B in name)
    )
    norm = _norm_of_products({name: values.astype(np.float32) for name, values in centre.items()})
    return {
        "consensus_distance": sqrt(sum(xi.values())),
        "product_bias_bound": bound,
        "product_bias_percent": 100 * (min(bound / norm, _MOST_BIAS) if norm else 0.0),
    }


def _norm_of_products(state: State) -> float:
    """Frobenius norm of all B·A together, without making one: ``|B·A|^2 = sum (B'B * AA')``."""
    squares = 0.0
    for pair in pairs(state):
        a, b = state[pair.a].astype(np.float64), state[pair.b].astype(np.float64)
        squares += float(((b.T @ b) * (a @ a.T)).sum())
    return sqrt(max(squares, 0.0))
