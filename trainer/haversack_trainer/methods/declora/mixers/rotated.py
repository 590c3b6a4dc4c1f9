"""Neighbours are turned into this peer's coordinates before they are averaged (FedRot-LoRA, arXiv 2602.23638)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from haversack_trainer.exchange.codec import State

from .base import Mixed, Pair, averaged, pairs
from .factor import Factor


class Rotated(Factor):
    """B·A is the same as (B·R)·(R'·A) for every orthogonal R: that of each neighbour is chosen which brings its
    factors nearest to this peer's own (orthogonal Procrustes)."""

    is_linear = False

    def combine(self, shares: Mapping[int, float], states: Mapping[int, State], me: int) -> Mixed:
        turned = {
            peer: state if peer == me else _turned(state, states[me])
            for peer, state in states.items()
        }
        return averaged(shares, turned)


def _turned(state: State, own: State) -> dict[str, np.ndarray]:
    result = dict(state)
    for pair in pairs(own):
        rotation = alignment(state, own, pair)
        result[pair.b] = (state[pair.b].astype(np.float64) @ rotation).astype(np.float32)
        result[pair.a] = (rotation.T @ state[pair.a].astype(np.float64)).astype(np.float32)
    return result


def alignment(state: State, own: State, pair: Pair) -> np.ndarray:
    """R ``[r, r]``, orthogonal, that minimises ``|B·R - B_own|^2 + |R'·A - A_own|^2``."""
    a, b = (state[name].astype(np.float64) for name in pair)
    own_a, own_b = (own[name].astype(np.float64) for name in pair)
    u, _, v = np.linalg.svd(b.T @ own_b + a @ own_a.T)
    return np.asarray(u @ v)
