"""How much neighbours count: gossip weights of a graph. Pure.

All give a row-stochastic matrix with a positive diagonal, zero off the graph. Metropolis and Laplacian weights are
symmetric, so the plain mean is preserved; those by samples are reversible with respect to the shares ``pi``
(``pi_i·P_ij = pi_j·P_ji``), so the mean weighted by samples is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .graphs import Adjacency

Matrix = NDArray[np.float64]


class Weights(StrEnum):
    """Kinds of weights, by the values of the methods' settings."""

    METROPOLIS = "Metropolis"
    LAPLACIAN = "Laplacian"
    SAMPLES = "Samples"
    PUSH_SUM = "PushSum"


def metropolis_weights(adjacency: Adjacency) -> Matrix:
    """``1 / (1 + max(deg_i, deg_j))`` on edges, the rest on the diagonal (Xiao and Boyd, "Fast linear iterations
    for distributed averaging", 2004). Needs only the neighbours' degrees."""
    degrees = adjacency.sum(axis=1)
    weights = np.where(adjacency, 1.0 / (1.0 + np.maximum.outer(degrees, degrees)), 0.0)
    return _closed(weights)


def laplacian_weights(adjacency: Adjacency) -> Matrix:
    """``I - 2·L / (3·lambda_max(L))`` (arXiv 2501.15361, for Erdos-Renyi graphs). Mixes more slowly than
    Metropolis in every graph that we tried."""
    laplacian = np.diag(adjacency.sum(axis=1)) - adjacency.astype(np.float64)
    largest = float(np.linalg.eigvalsh(laplacian).max())
    if largest <= 0:
        return np.eye(len(adjacency))
    return _closed(np.where(adjacency, 2.0 / (3.0 * largest), 0.0))


def sample_weights(adjacency: Adjacency, num_samples: Sequence[int]) -> Matrix:
    """``q_ij·min(1, pi_j / pi_i)`` on edges, q being Metropolis' and pi the shares of samples: Metropolis-Hastings
    with pi as its target."""
    shares = shares_of(num_samples)
    ratio = np.minimum(1.0, shares[None, :] / shares[:, None])
    return _closed(np.where(adjacency, metropolis_weights(adjacency) * ratio, 0.0))


def walk_weights(adjacency: Adjacency) -> Matrix:
    """``1 / (1 + deg_i)``, for each neighbour and itself: what i gives away in push-sum, and a lazy random walk's
    steps. Reversible with respect to ``1 + deg``."""
    return _closed(np.where(adjacency, 1.0 / (1.0 + adjacency.sum(axis=1))[:, None], 0.0))


def shares_of(num_samples: Sequence[int]) -> NDArray[np.float64]:
    """``n_i / sum n``; who has none counts as having one."""
    counts = np.maximum(np.asarray(num_samples, dtype=np.float64), 1.0)
    return np.asarray(counts / counts.sum())


def _closed(weights: Matrix) -> Matrix:
    np.fill_diagonal(weights, 0.0)
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights
