"""Averaging by layer, and who trains in a round. Pure: every member computes the same from the log.

    theta_l <- sum of w_il·theta_il / sum of w_il,    w_il = n_i·c_il / steps_i

over the peers i that shared layer l and were active in it in c_il of their steps, n_i being their samples.
A layer that nobody sent stays as it is. Sums run in fp64 in ascending order of peer, rounded to fp32 once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haversack_trainer.contract.robust import Robust
from haversack_trainer.contract.weights import FLOAT_BYTES
from haversack_trainer.exchange.codec import State
from haversack_trainer.robust.rules import average

from .settings import Weighting
from .word import Word

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Where each trainable tensor belongs."""

    layer_of: Mapping[str, int | None]
    """By name; None for the head and whatever else lies in no layer."""
    num_layers: int
    head_travels: bool
    still: frozenset[str] = frozenset()
    """Tensors that are not trained."""

    @property
    def travelling(self) -> frozenset[str]:
        """Tensors that are ever sent."""
        return frozenset(
            name
            for name, layer in self.layer_of.items()
            if name not in self.still and (layer is not None or self.head_travels)
        )

    @property
    def adapted(self) -> frozenset[int]:
        """Layers that have trainable tensors."""
        return frozenset(layer for layer in self.layer_of.values() if layer is not None)

    def own(self, shared: frozenset[int]) -> tuple[str, ...]:
        """Names of the tensors that stay with a peer that shares these layers."""
        return tuple(
            name
            for name, layer in self.layer_of.items()
            if (layer not in shared if layer is not None else not self.head_travels)
        )

    def sent(self, word: Word) -> tuple[str, ...]:
        """Names of the tensors that go with this word, sorted."""
        layers = word.sent
        return tuple(
            sorted(
                name
                for name in self.travelling
                if (layer := self.layer_of[name]) is None or layer in layers
            )
        )


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one peer brought into a round."""

    word: Word
    state: State
    """Its sent tensors."""


def num_bytes(contribution: Contribution) -> int:
    """On the wire by the formula: the sent layers' and the head's numbers in fp32, and which layers they are."""
    numbers = sum(values.size for values in contribution.state.values())
    return FLOAT_BYTES * numbers + -(-len(contribution.word.shared) // 8)


def weight(word: Word, layer: int | None, weighting: Weighting) -> float:
    """Of one peer's layer; the head (None) runs in every step."""
    if layer is None or weighting is Weighting.SAMPLES:
        return float(word.num_samples)
    return word.num_samples * word.active[layer] / word.steps


def aggregate(
    before: State,
    contributions: Mapping[int, Contribution],
    parts: Parts,
    weighting: Weighting,
    robust: Robust | None = None,
) -> Tensors:
    """The shared state after a round; ``robust`` as it is beside what was refused."""
    if robust is not None:
        return {**before, **_robust(contributions, parts, robust)}
    return {name: _mean(name, before, contributions, parts, weighting) for name in before}


def renewed(
    contributions: Mapping[int, Contribution], parts: Parts, robust: Robust | None
) -> frozenset[str]:
    """Tensors that a round's average changes, from whatever they were."""
    if robust is not None:
        return frozenset(_robust(contributions, parts, robust))
    return frozenset(name for each in contributions.values() for name in each.state)


def _robust(contributions: Mapping[int, Contribution], parts: Parts, robust: Robust) -> Tensors:
    """By layer, the head by itself: what lies in one layer is sent together."""
    mixed: Tensors = {}
    for layer in {parts.layer_of[name] for name in parts.travelling}:
        names = sorted(name for name in parts.travelling if parts.layer_of[name] == layer)
        states = [each.state for each in contributions.values() if each.state.keys() >= {*names}]
        mixed |= average(robust, states, names) or {}
    return mixed


def _mean(
    name: str,
    before: State,
    contributions: Mapping[int, Contribution],
    parts: Parts,
    weighting: Weighting,
) -> NDArray[np.float32]:
    brought = [contributions[peer] for peer in sorted(contributions)]
    given = [each for each in brought if name in each.state]
    if not given:
        return before[name]
    weights = [weight(each.word, parts.layer_of[name], weighting) for each in given]
    total = np.zeros(before[name].shape)
    for each, share in zip(given, weights, strict=True):
        total += share / sum(weights) * each.state[name].astype(np.float64)
    return total.astype(np.float32)


def cohort(seed: int, round: int, peers: Sequence[int], size: int | None) -> frozenset[int]:
    """Who trains: ``size`` of the peers, uniformly without replacement, the same on every machine."""
    if size is None:
        return frozenset(peers)
    return frozenset(sorted(peers, key=lambda peer: _rank(seed, round, peer))[:size])


def _rank(seed: int, round: int, peer: int) -> bytes:
    return hashlib.sha256(f"cohort/{seed}/{round}/{peer}".encode()).digest()
