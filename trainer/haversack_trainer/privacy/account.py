"""What published noise is worth, in epsilon. Pure.

A mechanism here adds normal noise of ``noiseMultiplier`` times what exchanging one protected thing for another can
change. What follows from what was published (averages, quantised numbers, adapters) spends nothing more.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.membership import Ending
from haversack_trainer.contract.privacy import Privacy, WhenSpent

_ORDERS_TO_A_FACTOR: Final = 16
_FACTORS: Final = 8
"""Orders of Rényi's divergence that are tried: around the best one, to this many factors of two."""


@dataclass(frozen=True, slots=True)
class Use:
    """How often a peer's records go into what is published."""

    num_records: int
    batch_size: int
    noisy_per_batch: int
    """Noisy numbers, or vectors, that are made of one batch."""

    def after(self, num_batches: int) -> int:
        """Of those, how many the most-used record was in, squared multiplicities added up: a bound.

        Batches follow a new order in each pass, so a record is once in each pass over the data. Where a batch
        reaches into the next pass, a record may be in it more than once, and its sensitivity is as many fold.
        """
        passes = -(-num_batches * self.batch_size // self.num_records)
        most = (self.batch_size - 2) // self.num_records + 2
        if self.num_records % self.batch_size == 0:
            most = 1
        return passes * most * self.noisy_per_batch


def epsilon(uses: int, noise_multiplier: float, delta: float) -> float:
    """Epsilon of (epsilon, delta)-differential privacy after ``uses`` noisy numbers or vectors.

    Gaussian mechanisms compose to a Rényi divergence of order·uses/(2·sigma²) (Mironov, arXiv 1702.07476,
    corollary 3); epsilon from it by Canonne, Kamath and Steinke, arXiv 2004.00010, proposition 12.
    """
    if not uses:
        return 0.0
    rate = uses / (2 * noise_multiplier**2)
    best = math.sqrt(-math.log(delta) / rate)
    steps = range(-_FACTORS * _ORDERS_TO_A_FACTOR, _FACTORS * _ORDERS_TO_A_FACTOR + 1)
    orders = (1 + best * 2 ** (step / _ORDERS_TO_A_FACTOR) for step in steps)
    return max(0.0, min(_converted(order, order * rate, delta) for order in orders))


def _converted(order: float, divergence: float, delta: float) -> float:
    loose = (math.log(delta) + math.log(order)) / (order - 1)
    return divergence + math.log1p(-1 / order) - loose


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent, and what becomes of the run afterwards."""

    privacy: Privacy

    def epsilon(self, uses: int) -> float:
        """What so many uses have spent."""
        return epsilon(uses, float(self.privacy.noise_multiplier), float(self.privacy.delta))

    def affords(self, uses: int) -> bool:
        """Whether so many uses are within the budget."""
        limit = self.privacy.max_epsilon
        return limit is None or self.epsilon(uses) <= float(limit)

    def ending(self, uses: int) -> Ending | None:
        """What is to become of the run if the next round would come to ``uses``; None: it goes on."""
        if self.affords(uses) or self.privacy.when_spent is WhenSpent.REST:
            return None
        return Ending(
            reason=f"privacy.maxEpsilon is {self.privacy.max_epsilon}, and another round would come to "
            f"{self.epsilon(uses):.2f}",
            publishes=self.privacy.when_spent is not WhenSpent.HALT,
        )


def fault(privacy: Privacy | None) -> str | None:
    """What is wrong with a budget that a single use exceeds: a sentence that begins with the field."""
    if privacy is None or Budget(privacy).affords(1):
        return None
    return (
        f"privacy.maxEpsilon: is {privacy.max_epsilon}, but the first round already spends "
        f"{Budget(privacy).epsilon(1):.2f}; raise it or noiseMultiplier"
    )


class Rounds:
    """Counts the rounds in which a peer's data went into what it published."""

    def __init__(self) -> None:
        self.spent = 0
        self.last = 0
        """The newest of them, plus one."""
        self.repeats = 0
        """Of those, made anew."""
        self.through = 0
        """Rounds before this one are accounted for."""

    def note(self, round: int, *, spends: bool) -> None:
        """``round`` is begun, or was seen in the log. Rounds in between, of which nothing is known here, count as
        spent; and one that is made anew spends again."""
        unknown = max(0, round - self.through)
        self.repeats += spends and round < self.through
        self.spent += unknown + spends
        if unknown or spends:
            self.last = max(self.last, round + spends)
        self.through = max(self.through, round + 1)

    def with_round(self, round: int) -> Rounds:
        """What it would come to with ``round``."""
        after = copy(self)
        after.note(round, spends=True)
        return after

    def recall(self, round: int, *, spends: bool) -> None:
        """As ``note``, for a round of the log: one that is accounted for counts no second time."""
        if round >= self.through:
            self.note(round, spends=spends)

    def state(self) -> list[int]:
        return [self.spent, self.last, self.repeats, self.through]

    def load(self, state: list[int]) -> None:
        """Inverse of ``state``; what this process has spent since does not come back."""
        spent, last, repeats, through = state
        if through > self.through:
            self.spent, self.last = max(spent, self.spent), max(last, self.last)
            self.repeats, self.through = max(repeats, self.repeats), through
