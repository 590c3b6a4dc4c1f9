"""The ways to divide training samples among peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.contract.spec import PartitionSpec, PartitionType

from .samples import DataError, Indices, Samples

MIN_PART: Final = 10
"""A Dirichlet draw that leaves a peer with fewer is drawn again (as in NIID-Bench, Li et al. 2022)."""
MAX_DRAWS: Final = 1000
DEFAULT_ALPHA: Final = "0.5"
DEFAULT_SHARDS: Final = 2

Parts = tuple[Indices, ...]
Deal = Callable[[Samples, Indices, PartitionSpec, int, np.random.Generator], Sequence[Indices]]


def partition(
    samples: Samples,
    training: Indices,
    spec: PartitionSpec,
    num_peers: int,
    rng: np.random.Generator,
) -> Parts:
    """For each peer ascending indices into ``samples``; disjoint, covering ``training``, none empty.

    Raises ``DataError`` where that cannot be.
    """
    if len(training) < num_peers:
        raise DataError(
            f"{len(training)} training samples cannot be split over {num_peers} peers; "
            "give more data or fewer replicas"
        )
    parts = _DEALS[spec.type](samples, training, spec, num_peers, rng)
    return tuple(np.sort(part) for part in parts)


def _iid(
    _: Samples, training: Indices, __: PartitionSpec, num_peers: int, rng: np.random.Generator
) -> Sequence[Indices]:
    return np.array_split(rng.permutation(training), num_peers)


def _dirichlet(
    samples: Samples,
    training: Indices,
    spec: PartitionSpec,
    num_peers: int,
    rng: np.random.Generator,
) -> Sequence[Indices]:
    """For each class draw q ~ Dir(alpha·1) and cut the shuffled class by it."""
    alpha = float(spec.alpha or DEFAULT_ALPHA)
    labels = _labels(samples, spec)[training]
    classes = [rng.permutation(training[labels == label]) for label in np.unique(labels)]
    least = max(1, min(MIN_PART, len(training) // (2 * num_peers)))
    for _ in range(MAX_DRAWS):
        pieces = [_cut(members, rng.dirichlet([alpha] * num_peers)) for members in classes]
        parts = [np.concatenate(piece) for piece in zip(*pieces, strict=True)]
        if min(map(len, parts)) >= least:
            return parts
    raise DataError(
        f"no Dirichlet split with alpha {alpha:g} gives each of {num_peers} peers {least} samples; "
        "raise dataset.partition.alpha, give more data or fewer replicas"
    )


def _shards(
    samples: Samples,
    training: Indices,
    spec: PartitionSpec,
    num_peers: int,
    rng: np.random.Generator,
) -> Sequence[Indices]:
    """Sort by class, cut into equal shards, deal each peer the same number (McMahan et al. 2017)."""
    each = spec.shards_per_peer or DEFAULT_SHARDS
    if len(training) < each * num_peers:
        raise DataError(
            f"{len(training)} training samples make fewer than {each * num_peers} shards; "
            "lower dataset.partition.shardsPerPeer"
        )
    shuffled = rng.permutation(training)
    by_class = shuffled[np.argsort(_labels(samples, spec)[shuffled], kind="stable")]
    shards = np.array_split(by_class, each * num_peers)
    dealt = rng.permutation(len(shards)).reshape(num_peers, each)
    return [np.concatenate([shards[i] for i in hand]) for hand in dealt]


def _by_column(
    samples: Samples, training: Indices, spec: PartitionSpec, num_peers: int, _: np.random.Generator
) -> Sequence[Indices]:
    """Groups go whole, largest first, each to the peer that has fewest samples so far."""
    groups: dict[str, list[int]] = {}
    for i in training:
        groups.setdefault((samples.groups or ())[i], []).append(int(i))
    if len(groups) < num_peers:
        raise DataError(
            f"column {spec.column!r} has {len(groups)} values in the training data, too few for "
            f"{num_peers} peers; choose another dataset.partition.column or fewer replicas"
        )
    hands: list[list[int]] = [[] for _ in range(num_peers)]
    for _name, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        min(hands, key=len).extend(members)
    return [np.array(hand, np.int64) for hand in hands]


def _sizes(
    _: Samples, training: Indices, spec: PartitionSpec, num_peers: int, rng: np.random.Generator
) -> Sequence[Indices]:
    sizes = np.array(spec.sizes or [1] * num_peers, np.float64)
    parts = _cut(rng.permutation(training), sizes / sizes.sum())
    if not all(map(len, parts)):
        raise DataError(
            f"dataset.partition.sizes leave a peer without any of the {len(training)} training samples; "
            "make them less uneven"
        )
    return parts


def _cut(members: Indices, shares: NDArray[np.float64]) -> list[Indices]:
    """Cut where the running sum of the shares falls."""
    ends = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
    return np.split(members, ends)


def _labels(samples: Samples, spec: PartitionSpec) -> Indices:
    if samples.labels is None:
        raise DataError(
            f"dataset.partition {spec.type} needs classes; choose a task that has labels"
        )
    return samples.labels


_DEALS: Final[dict[PartitionType, Deal]] = {
    PartitionType.IID: _iid,
    PartitionType.DIRICHLET: _dirichlet,
    PartitionType.SHARDS: _shards,
    PartitionType.BY_COLUMN: _by_column,
    PartitionType.SIZES: _sizes,
}
