"""The products B·A are averaged and cut back to the rank (DeCAF, arXiv 2505.21382)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.exchange.codec import State

from .base import Mixed, averaged, pairs
from .factor import Factor

Matrix = NDArray[np.float64]


class Decaf(Factor):
    """Exact but for the singular values beyond the rank. All that is no pair of factors is averaged."""

    is_linear = False
    keeps_coordinates = False

    def combine(self, shares: Mapping[int, float], states: Mapping[int, State], me: int) -> Mixed:
        mixed = averaged(shares, states)
        peers = sorted(shares)
        for pair in pairs(states[me]):
            rank = len(states[me][pair.a])
            a, b = mean_product(
                [shares[peer] for peer in peers],
                [states[peer][pair.a] for peer in peers],
                [states[peer][pair.b] for peer in peers],
                rank,
            )
            mixed[pair.a], mixed[pair.b] = a.astype(np.float32), b.astype(np.float32)
        return mixed


def mean_product(
    shares: Sequence[float],
    factors_a: Sequence[NDArray[np.floating]],
    factors_b: Sequence[NDArray[np.floating]],
    rank: int,
) -> tuple[Matrix, Matrix]:
    """``A [rank, d_in]`` and ``B [d_out, rank]`` whose product is nearest to ``sum of share·B·A``; the factors'
    own ranks may differ.

    No dense product is made: thin QR of the stacked factors, SVD of the small core. Singular values are
    shared out evenly between A and B.
    """
    stacked_b = np.hstack(
        [s * b.astype(np.float64) for s, b in zip(shares, factors_b, strict=True)]
    )
    stacked_a = np.vstack([a.astype(np.float64) for a in factors_a])
    left, core_b = np.linalg.qr(stacked_b)
    right, core_a = np.linalg.qr(stacked_a.T)
    u, values, v = np.linalg.svd(core_b @ core_a.T)
    roots = np.zeros(rank)
    kept = min(rank, len(values))
    roots[:kept] = np.sqrt(values[:kept])
    b, a = np.zeros((len(left), rank)), np.zeros((rank, len(right)))
    b[:, :kept], a[:kept] = left @ u[:, :kept], v[:kept] @ right.T
    return roots[:, None] * a, b * roots
