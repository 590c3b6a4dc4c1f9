"""Which samples are held out, and which peer trains on which of the rest.

Every peer computes the whole split from the same files and seed; nothing is sent. ``Split.digest``
lets the hub refuse a peer that came to another result.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from haversack_trainer.contract.spec import HELD_OUT_PERCENT, DatasetSpec

from .partition import partition
from .samples import DataError, Indices, Samples

MIN_HELD_OUT: Final = 2


@dataclass(frozen=True, slots=True)
class Split:
    """The parts are disjoint and cover the training samples; none holds a held-out sample."""

    parts: tuple[Indices, ...]
    """For each peer ascending indices into the samples that were split."""
    held_out: Samples
    digest: str
    """sha256 over all samples, the held-out ones and the parts; hex."""
    personal: tuple[Indices, ...] = ()
    """For each peer the samples of its own that it is scored by and does not train on; empty where the job asks
    for none."""

    @property
    def training(self) -> Indices:
        """Indices of all training samples, ascending."""
        return np.sort(np.concatenate(self.parts))


def split(
    samples: Samples,
    spec: DatasetSpec,
    num_peers: int,
    seed: int,
    held_out: Samples | None = None,
) -> Split:
    """Split ``samples`` over the peers. Raises ``DataError``.

    ``held_out`` is the data set of ``heldOut.uri``, if there is one; otherwise ``heldOut.percent`` of the
    samples are set aside, class by class.
    """
    rng = np.random.default_rng([seed, num_peers])
    if held_out is None:
        chosen = _set_aside(samples, spec, rng)
        judged = samples.take(chosen)
    else:
        _refuse_overlap(samples, held_out)
        chosen, judged = np.empty(0, np.int64), _at_most(held_out, spec.held_out.max_samples, rng)
    if len(judged) < MIN_HELD_OUT:
        raise DataError(
            f"{len(samples)} samples leave {len(judged)} to judge by, at least {MIN_HELD_OUT} are needed; "
            "give more data or raise dataset.heldOut.percent"
        )
    training = np.setdiff1d(np.arange(len(samples)), chosen)
    _check_classes(samples, training)
    parts = partition(samples, training, spec.partition, num_peers, rng)
    if spec.held_out.personal_percent is None:
        return Split(parts, judged, _digest(samples, judged, parts))
    personal = _personal(samples, parts, spec.held_out.personal_percent, rng)
    parts = tuple(np.setdiff1d(*both) for both in zip(parts, personal, strict=True))
    return Split(parts, judged, _digest(samples, judged, (*parts, *personal)), personal)


def _personal(
    samples: Samples, parts: tuple[Indices, ...], percent: int, rng: np.random.Generator
) -> tuple[Indices, ...]:
    """Of each part what its peer is scored by: no input that another peer has, too, since models are mixed."""
    keys = samples.input_keys
    num_owners = Counter(key for part in parts for key in {keys[i] for i in part})
    chosen = []
    for peer, part in enumerate(parts):
        own = [int(i) for i in part if num_owners[keys[i]] == 1]
        taken = _drawn(_groups(samples, own), percent / 100, rng)
        if not len(taken):
            raise DataError(
                f"dataset.heldOut.personalPercent {percent} leaves peer {peer} nothing of its {len(part)} samples "
                "to be scored by; raise it, give more data, or make dataset.partition less skewed"
            )
        chosen.append(taken)
    return tuple(chosen)


def _set_aside(samples: Samples, spec: DatasetSpec, rng: np.random.Generator) -> Indices:
    """Ascending indices of the held-out samples."""
    percent = spec.held_out.percent or HELD_OUT_PERCENT
    share = min(percent / 100, spec.held_out.max_samples / len(samples))
    return _drawn(_groups(samples, range(len(samples))), share, rng)


def _drawn(by_class: list[list[list[int]]], share: float, rng: np.random.Generator) -> Indices:
    """Ascending indices of a share of the samples, drawn class by class.

    Samples with the same input stay together, whatever their classes, so that none is both learnt and
    judged; they count for the class of the first of them. Quotas are differences of a rounded-down
    running sum: each is within one of its class's share, their sum is exact.
    """
    chosen: list[int] = []
    seen = given = 0
    for groups in by_class:
        size = sum(map(len, groups))
        seen += size
        taken = _whole_groups(groups, min(int(seen * share) - given, size - 1), rng)
        given += len(taken)
        chosen += taken
    return np.sort(np.array(chosen, np.int64))


def _groups(samples: Samples, chosen: Iterable[int]) -> list[list[list[int]]]:
    """For each class in order the groups of its ``chosen`` samples that have the same input."""
    together: dict[bytes, list[int]] = defaultdict(list)
    for i in chosen:
        together[samples.input_keys[i]].append(i)
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for group in together.values():
        label = 0 if samples.labels is None else int(samples.labels[group[0]])
        by_class[label].append(group)
    return [by_class[label] for label in sorted(by_class)]


def _whole_groups(groups: list[list[int]], quota: int, rng: np.random.Generator) -> list[int]:
    """At most ``quota`` samples, by whole groups in random order."""
    taken: list[int] = []
    for place in rng.permutation(len(groups)):
        if len(taken) + len(groups[place]) <= quota:
            taken += groups[place]
    return taken


def _refuse_overlap(samples: Samples, held_out: Samples) -> None:
    place = {key: i for i, key in enumerate(samples.input_keys)}
    shared = [i for i, key in enumerate(held_out.input_keys) if key in place]
    if shared:
        first = shared[0]
        raise DataError(
            f"dataset.heldOut.uri overlaps the training data in {len(shared)} of {len(held_out)} samples, "
            f"e.g. its sample {first + 1} is training sample {place[held_out.input_keys[first]] + 1}; remove them"
        )


def _at_most(samples: Samples, count: int, rng: np.random.Generator) -> Samples:
    if len(samples) <= count:
        return samples
    return samples.take(np.sort(rng.permutation(len(samples))[:count]))


def _check_classes(samples: Samples, training: Indices) -> None:
    if samples.labels is None:
        return
    counts = np.bincount(samples.labels[training], minlength=len(samples.classes))
    if not counts.all():
        name = samples.classes[int(np.flatnonzero(counts == 0)[0])]
        raise DataError(f"class {name!r} has no training sample; add some or remove the class")


def _digest(samples: Samples, held_out: Samples, parts: tuple[Indices, ...]) -> str:
    whole = hashlib.sha256(f"{samples.digest} {held_out.digest}".encode())
    for part in parts:
        whole.update(hashlib.sha256(part.astype("<i8").tobytes()).digest())
    return whole.hexdigest()
