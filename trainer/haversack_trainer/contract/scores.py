"""How good the peers' own models are, beside the run's adapter: three figures that must not be mixed up.

Personalised: each peer's own model on samples of its own that it did not train on. Consensus: the run's adapter on
the common held-out samples; that is the verdict's. Mean over peers: each peer's own model on the common ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .report import Evaluation, PeerScores


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all peers, each counting once, however many samples it has."""

    mean: Evaluation
    worst: Evaluation
    """The peer's with the highest loss; one that is not finite is worse than any."""
    worst_peer: int


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the peers' scores come to."""

    personal: Spread
    common: Spread


def kinds(scores: Mapping[int, PeerScores]) -> Kinds | None:
    """Over all peers that said something; None where nobody did."""
    if not scores:
        return None
    return Kinds(
        _spread({peer: each.personal for peer, each in scores.items()}),
        _spread({peer: each.common for peer, each in scores.items()}),
    )


def _spread(found: Mapping[int, Evaluation]) -> Spread:
    peer = max(sorted(found), key=lambda at: _order(found[at].loss))
    each = [found[at] for at in sorted(found)]
    accuracies = [one.accuracy for one in each if one.accuracy is not None]
    mean = Evaluation(
        round=max(one.round for one in each),
        loss=_mean([one.loss for one in each]),
        accuracy=_mean(accuracies) if len(accuracies) == len(each) else None,
        num_samples=sum(one.num_samples for one in each),
    )
    return Spread(mean, found[peer], peer)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _order(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss
