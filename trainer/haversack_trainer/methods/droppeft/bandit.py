"""Which drop rate a peer tries next: exploration and exploitation over past rounds. Pure.

A peer's choice is a function of the pulls that the log holds, of (seed, round, peer) and of what the peer's own
machine can do: whoever reads the same log sees why. The paper names a multi-armed bandit over candidate rates, a
window and an exploration rate; the formulas and values are ours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from .settings import Configurator, Settings

_LEAST_SPREAD: Final = 1e-3
"""As a share of the median."""
_MOST_REWARD: Final = 3.0
"""One lucky round must not outweigh a window."""
_FEW: Final = 3
"""With fewer peers of a class in a round, their rewards are measured against the class's past."""
_WORST_IN_A_ROW: Final = 2

Arm = float
"""A mean drop rate."""


@dataclass(frozen=True, slots=True)
class Pull:
    """One peer's round with an arm."""

    round: int
    peer: int
    kind: str
    """Class of its machine: peers of a class learn from one another."""
    arm: Arm
    gain: float
    """What local training gained on samples that it did not see: loss or accuracy."""
    seconds: float
    """Of the local work."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How arms are chosen."""

    arms: tuple[Arm, ...]
    configurator: Configurator
    window: int
    exploration: float
    exploration_decay: float
    least_exploration: float
    discount: float
    confidence: float

    @classmethod
    def of(cls, settings: Settings, arms: Iterable[Arm]) -> Policy:
        """Rate 0 is always among the arms: what is left when nothing else works."""
        return cls(
            tuple(sorted({0.0, *arms})),
            settings.configurator,
            settings.window_rounds,
            float(settings.exploration),
            float(settings.exploration_decay),
            float(settings.least_exploration),
            float(settings.discount),
            float(settings.confidence),
        )


def recent(pulls: Iterable[Pull], round: int, window: int) -> tuple[Pull, ...]:
    """Those of the ``window`` rounds before ``round``: older gains say little of today's."""
    return tuple(pull for pull in pulls if round - window <= pull.round < round)


def rewards(pulls: Sequence[Pull]) -> list[tuple[Pull, float]]:
    """Each pull of one class with its normalised reward, oldest round first.

    Gains per second shrink as training goes on, so a pull is compared with those of its own round:
    (R - median)/MAD; and where those are few, its gain in the time that rate 0 takes with the class's past.
    """
    whole = [pull.seconds for pull in pulls if pull.arm == 0]
    pace = median(whole or [pull.seconds for pull in pulls] or [1.0])
    found: list[tuple[Pull, float]] = []
    seen: list[float] = []
    for number in sorted({pull.round for pull in pulls}):
        now = sorted((pull for pull in pulls if pull.round == number), key=lambda pull: pull.peer)
        rates = [pace * pull.gain / pull.seconds for pull in now]
        seen += rates
        among = rates if len(now) >= _FEW else seen
        found += zip(now, _standardised(rates, among), strict=True)
    return found


def _standardised(values: Sequence[float], among: Sequence[float]) -> list[float]:
    centre = median(among)
    spread = median(abs(value - centre) for value in among) + _LEAST_SPREAD * abs(centre)
    rewards = ((value - centre) / (spread or 1.0) for value in values)
    return [max(-_MOST_REWARD, min(_MOST_REWARD, reward)) for reward in rewards]


def exploration(policy: Policy, round: int) -> float:
    """Chance of trying an arm that is not thought best: it falls with the rounds to a floor."""
    return max(policy.least_exploration, policy.exploration * policy.exploration_decay**round)


def choose(
    policy: Policy,
    pulls: Iterable[Pull],
    feasible: Sequence[Arm],
    *,
    seed: int,
    round: int,
    peer: int,
    kind: str,
) -> Arm:
    """The arm for ``peer`` in ``round``, one of ``feasible`` (ascending, not empty)."""
    of_kind = [pull for pull in recent(pulls, round, policy.window) if pull.kind == kind]
    scored = [(pull, reward) for pull, reward in rewards(of_kind) if pull.arm in feasible]
    untested = [arm for arm in feasible if all(pull.arm != arm for pull, _ in scored)]
    known = sorted({pull.peer for pull in of_kind})
    slot = known.index(peer) if peer in known else peer
    if untested and round < math.ceil(len(policy.arms) / max(1, len(known))):
        return untested[slot % len(untested)]
    if scored and _is_hopeless(scored, peer):
        return _best(scored, feasible)
    if policy.configurator is Configurator.DISCOUNTED_UCB:
        if untested:
            return untested[slot % len(untested)]
        return _most_promising(policy, scored, feasible, round, slot)
    if not scored or _uniform(seed, round, peer) < exploration(policy, round):
        return _stalest(scored, feasible, untested, slot)
    return _best(scored, feasible)


def _stalest(
    scored: Sequence[tuple[Pull, float]],
    feasible: Sequence[Arm],
    untested: Sequence[Arm],
    slot: int,
) -> Arm:
    """Untested arms first, then those that were tried longest ago; peers of a class get different ones."""
    last = {arm: max((p.round for p, _ in scored if p.arm == arm), default=-1) for arm in feasible}
    order = [*untested, *sorted(last.keys() - set(untested), key=lambda arm: (last[arm], arm))]
    return order[slot % len(order)]


def _best(scored: Sequence[tuple[Pull, float]], feasible: Sequence[Arm]) -> Arm:
    """Highest mean reward; of equals the one that drops more, it is cheaper."""
    means = {
        arm: fmean(own)
        for arm in feasible
        if (own := [reward for pull, reward in scored if pull.arm == arm])
    }
    return max(means, key=lambda arm: (means[arm], arm))


def _most_promising(
    policy: Policy,
    scored: Sequence[tuple[Pull, float]],
    feasible: Sequence[Arm],
    round: int,
    slot: int,
) -> Arm:
    """Discounted UCB: mean + c·sqrt(ln N / n), pulls weighing less with every round since. What the class's
    peers before this one choose counts as pulled, so that not all of them explore the same arm."""
    counts, sums = dict.fromkeys(feasible, 0.0), dict.fromkeys(feasible, 0.0)
    for pull, reward in scored:
        weight = policy.discount ** (round - 1 - pull.round)
        counts[pull.arm] += weight
        sums[pull.arm] += weight * reward
    means = {arm: sums[arm] / counts[arm] for arm in feasible}

    def promise(arm: Arm) -> float:
        total = max(1.0, math.fsum(counts.values()))
        return means[arm] + policy.confidence * math.sqrt(math.log(total) / counts[arm])

    def next_arm() -> Arm:
        return max(feasible, key=lambda arm: (promise(arm), arm))

    for _ in range(slot):
        counts[next_arm()] += 1
    return next_arm()


def _is_hopeless(scored: Sequence[tuple[Pull, float]], peer: int) -> bool:
    """Whether the peer's last two rewards were its class's worst of their rounds."""
    own = [(pull, reward) for pull, reward in scored if pull.peer == peer][-_WORST_IN_A_ROW:]

    def is_worst(pull: Pull, reward: float) -> bool:
        others = [r for p, r in scored if p.round == pull.round and p.peer != peer]
        return bool(others) and reward < min(others)

    return len(own) == _WORST_IN_A_ROW and all(is_worst(*each) for each in own)


def in_time(
    expected_layers: dict[Arm, float], pulls: Iterable[Pull], peer: int, seconds: float | None
) -> frozenset[Arm]:
    """Arms whose local work is expected to end within ``seconds``: T = T_fix + E·t_layer, fitted by least
    squares to the peer's own pulls. All of them until two depths were measured; of none in time, the quickest."""
    arms = frozenset(expected_layers)
    own = [
        (expected_layers[pull.arm], pull.seconds)
        for pull in pulls
        if pull.peer == peer and pull.arm in arms
    ]
    if seconds is None or len({depth for depth, _ in own}) <= 1:
        return arms
    depth, time = fmean(d for d, _ in own), fmean(t for _, t in own)
    slope = math.fsum((d - depth) * (t - time) for d, t in own) / math.fsum(
        (d - depth) ** 2 for d, _ in own
    )
    fit = {arm: time + slope * (layers - depth) for arm, layers in expected_layers.items()}
    return frozenset(arm for arm in arms if fit[arm] <= seconds) or frozenset(
        {min(arms, key=lambda arm: (fit[arm], -arm))}
    )


def _uniform(seed: int, round: int, peer: int) -> float:
    digest = hashlib.sha256(f"explore/{seed}/{round}/{peer}".encode()).digest()
    return int.from_bytes(digest[:7], "little") / 2**56
