"""What methods ask of differential privacy in common. No torch here: CRDs are generated from it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from .base import Check, Decimal, Frozen


class WhenSpent(StrEnum):
    STOP = "Stop"
    HALT = "Halt"
    REST = "Rest"


class Unit(StrEnum):
    PEER = "Peer"
    SAMPLE = "Sample"


class Privacy(Frozen):
    """Differential privacy of what a peer publishes."""

    noise_multiplier: Decimal = Field(
        default="1",
        description="Noise, in units of what one protected thing can change what is published by; more than 0.",
    )
    delta: Decimal = Field(
        default="0.00001",
        description="Probability that epsilon is exceeded: far less than 1 by the number of those protected.",
    )
    max_epsilon: Decimal | None = Field(
        default=None,
        description="Most that a peer may spend. It does not begin a round that would spend more. No limit if absent.",
    )
    when_spent: WhenSpent | None = Field(
        default=None,
        description="Once a peer cannot afford another round. Stop (the default): the run ends there, and what it has "
        "come to is judged and published. Halt: it ends, and nothing is published. Rest: that peer publishes nothing "
        "of its own any more, the others go on.",
    )


class DeltaPrivacy(Privacy):
    """Differential privacy of what a peer's round changes."""

    unit: Unit = Field(
        default=Unit.PEER,
        description="What is protected. Peer: all of a peer's data together; what a round changes is clipped and blurred. "
        "Sample: one of its records; each sample's gradient is clipped and each step's is blurred, and samples "
        "go through the model one by one.",
    )
    clip: Decimal = Field(
        default="1",
        description="What a round changes (Peer), or a sample's gradient (Sample), is scaled down to this L2 norm, if it "
        "is longer; more than 0.",
    )

    @property
    def is_of_samples(self) -> bool:
        return self.unit is Unit.SAMPLE


def fault_of_scores(privacy: Privacy | None) -> str | None:
    """What is wrong with privacy where peers are to judge themselves on samples of their own: a sentence that begins
    with the field."""
    if privacy is None:
        return None
    return (
        "privacy: does not go with dataset.heldOut.personalPercent, by which a peer tells how good its model is on "
        "samples of its own; remove one of them"
    )


def _of_privacy(cel: str, holds: Callable[[Any], bool], message: str) -> Check:
    return Check(
        f"!has(self.privacy) || ({cel})",
        lambda settings: settings.privacy is None or holds(settings.privacy),
        message,
    )


PRIVACY_CHECKS: Final = (
    _of_privacy(
        "double(self.privacy.clip) > 0.0 && double(self.privacy.noiseMultiplier) > 0.0",
        lambda privacy: min(float(privacy.clip), float(privacy.noise_multiplier)) > 0,
        "privacy: clip and noiseMultiplier must be more than 0, or nothing is protected",
    ),
    _of_privacy(
        "double(self.privacy.delta) > 0.0 && double(self.privacy.delta) < 1.0",
        lambda privacy: 0 < float(privacy.delta) < 1,
        "privacy.delta: is a probability; write more than 0 and less than 1",
    ),
    _of_privacy(
        "!has(self.privacy.whenSpent) || has(self.privacy.maxEpsilon)",
        lambda privacy: privacy.when_spent is None or privacy.max_epsilon is not None,
        "privacy.whenSpent: goes with maxEpsilon; add that or remove this",
    ),
)
"""For settings that have a member ``privacy``."""
