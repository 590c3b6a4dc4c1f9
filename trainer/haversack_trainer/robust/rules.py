"""Averages that withstand wrong states. Pure, the same bits in whatever order the states come.

Trimmed mean and median by coordinates: Yin et al., arXiv 1803.01498. Krum and Multi-Krum: Blanchard et al., NeurIPS
2017. All of them need an honest majority; none tells who is wrong. Weights do not count: a peer that lies about its
state also lies about its samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.contract.robust import Robust, Rule

Vectors = NDArray[np.float64]
"""[states, numbers]"""
Tensors = dict[str, NDArray[np.float32]]


def trimmed_mean(vectors: Vectors, num_faulty: int) -> NDArray[np.float64]:
    """Of each number without the ``num_faulty`` largest and smallest; with 0 the plain mean."""
    kept = np.sort(vectors, axis=0)[num_faulty : len(vectors) - num_faulty]
    return np.asarray(kept.mean(axis=0))


def median(vectors: Vectors, _num_faulty: int) -> NDArray[np.float64]:
    """Of each number; the mean of the middle two where there is no middle one."""
    return np.asarray(np.median(vectors, axis=0))


def krum(vectors: Vectors, num_faulty: int) -> NDArray[np.float64]:
    """The state with the least sum of squared distances to its n - f - 2 nearest others."""
    return np.asarray(vectors[_by_score(vectors, num_faulty)[0]])


def multi_krum(vectors: Vectors, num_faulty: int) -> NDArray[np.float64]:
    """Mean of the n - f states of least such sums; with f = 0 the plain mean."""
    chosen = _by_score(vectors, num_faulty)[: len(vectors) - num_faulty]
    return trimmed_mean(vectors[chosen], 0)


def _by_score(vectors: Vectors, num_faulty: int) -> list[int]:
    """Best first; of equals the one that comes first by its bytes, whatever its place."""
    near = max(1, len(vectors) - num_faulty - 2)
    # One at a time: all differences at once would be n² states.
    squares = [[float(np.square(one - other).sum()) for other in vectors] for one in vectors]
    # The nearest of all is the state itself.
    scores = [sum(sorted(row)[1 : near + 1]) for row in squares]
    return sorted(range(len(vectors)), key=lambda at: (scores[at], vectors[at].tobytes()))


_RULES: Final[Mapping[Rule, Callable[[Vectors, int], NDArray[np.float64]]]] = {
    Rule.TRIMMED_MEAN: trimmed_mean,
    Rule.MEDIAN: median,
    Rule.KRUM: krum,
    Rule.MULTI_KRUM: multi_krum,
}


def average(
    robust: Robust, states: Sequence[Mapping[str, NDArray[np.float32]]], names: Sequence[str]
) -> Tensors | None:
    """The tensors ``names`` of ``states``, taken together, by the rule; None where there are too few states for it."""
    if len(states) < robust.least or not names:
        return None
    rows = [np.concatenate([state[name].reshape(-1) for name in names]) for state in states]
    # Added, since it makes -0 to 0: else they would be one value with two kinds of bits.
    vectors = np.stack(rows).astype(np.float64) + 0.0
    mixed = _RULES[robust.rule](vectors, robust.num_faulty)
    shapes = [states[0][name].shape for name in names]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    cut = np.split(mixed.astype(np.float32), ends)
    return {n: part.reshape(shape) for n, part, shape in zip(names, cut, shapes, strict=True)}
