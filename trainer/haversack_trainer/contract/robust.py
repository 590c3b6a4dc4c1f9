"""What methods ask of robust averages in common. No torch here: CRDs are generated from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from .base import Frozen


class Rule(StrEnum):
    TRIMMED_MEAN = "TrimmedMean"
    MEDIAN = "Median"
    KRUM = "Krum"
    MULTI_KRUM = "MultiKrum"


_LEAST: Final = {Rule.TRIMMED_MEAN: 1, Rule.MEDIAN: 1, Rule.KRUM: 3, Rule.MULTI_KRUM: 3}


class Robust(Frozen):
    """An average that some peers' wrong or hostile states cannot carry away. Every peer counts the same in it."""

    rule: Rule = Field(
        default=Rule.TRIMMED_MEAN,
        description="TrimmedMean: of each number, without the numFaulty largest and smallest. Median: of each number. "
        "Krum: the one state that is nearest to its nearest others. MultiKrum: the mean of all but the numFaulty that "
        "are farthest.",
    )
    num_faulty: int = Field(
        default=1,
        ge=0,
        le=127,
        description="Wrong peers among those that are averaged at a time, which the average withstands.",
    )

    @property
    def least(self) -> int:
        """States that there must be: 2f + 1, and 2f + 3 for Krum."""
        return 2 * self.num_faulty + _LEAST[self.rule]

    def without(self, num_refused: int) -> Robust:
        """For the others, once so many states were refused: whose they were is known to be wrong."""
        return self.model_copy(update={"num_faulty": max(0, self.num_faulty - num_refused)})


def fault(robust: Robust | None, num_averaged: int, why: str) -> str | None:
    """What is wrong with the rule where ``num_averaged`` states at a time may be all there are: a sentence that
    begins with the field. ``why``: where that number comes from."""
    if robust is None or num_averaged >= robust.least:
        return None
    most = robust.num_faulty - -(-(robust.least - num_averaged) // 2)
    lower = f"write {most} or less, or raise that" if most >= 0 else "raise that"
    return (
        f"robust.numFaulty: {robust.rule} withstands {robust.num_faulty} of {robust.least} or more, but {why} only "
        f"{num_averaged}; {lower}"
    )
