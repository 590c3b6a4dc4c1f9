"""``method.type: Auto``: a method for a situation, from one table. Pure, and no torch: operator and documentation read it.

A situation is what does not change while a job runs: the line's class, the peers' memory, how unlike they are.
What changes, methods measure themselves in a run's first rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from pydantic import Field

from .base import Check, Decimal, Frozen
from .traffic import Line, Work
from .weights import FLOAT_BYTES

AUTO: Final = "Auto"
"""Value of ``spec.method.type``."""
MEMBER: Final = "auto"
NEIGHBOURS: Final = 2
SHORT_ROUND_STEPS: Final = 4
ROUND_STEPS: Final = 10
LONG_ROUND_STEPS: Final = 100
"""Steps that peers can take on their own: few, as usual, and the most before they drift apart."""


class Links(StrEnum):
    """How long an exchange takes beside a step."""

    SHORT_ROUNDS = "ShortRounds"
    ROUNDS = "Rounds"
    LONG_ROUNDS = "LongRounds"
    SCALARS = "Scalars"
    UNKNOWN = "Unknown"


class Memory(StrEnum):
    """What of training fits the peer that has least."""

    WHOLE = "Whole"
    PARTS = "Parts"
    FORWARD = "Forward"


class Peers(StrEnum):
    ALIKE = "Alike"
    MIXED = "Mixed"
    SEVERAL_DEVICES = "SeveralDevices"


WORDS: Final[Mapping[StrEnum, str]] = {
    Links.SHORT_ROUNDS: f"an exchange of what is trained takes at most {SHORT_ROUND_STEPS} steps",
    Links.ROUNDS: f"an exchange of what is trained takes {SHORT_ROUND_STEPS} to {ROUND_STEPS} steps",
    Links.LONG_ROUNDS: f"an exchange of what is trained takes {ROUND_STEPS} to {LONG_ROUND_STEPS} steps",
    Links.SCALARS: f"an exchange of what is trained takes more than {LONG_ROUND_STEPS} steps",
    Links.UNKNOWN: "without model.footprint and a line's bandwidth an exchange cannot be reckoned",
    Memory.WHOLE: "a backward pass through the whole model fits every peer",
    Memory.PARTS: "it fits some peer only in tiny micro-batches or with layers left out",
    Memory.FORWARD: "some peer has no room for a backward pass",
    Peers.ALIKE: "peers are about equally fast",
    Peers.MIXED: "some peers are more than twice as fast as others",
    Peers.SEVERAL_DEVICES: "each peer has several accelerators",
}
"""For reasons and documentation."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the table is asked with."""

    links: Links
    memory: Memory
    peers: Peers


ANY: Final = frozenset[Any]()


@dataclass(frozen=True, slots=True)
class Row:
    """The first row that fits a situation, and whose method the job may have, is chosen."""

    name: str
    method: str
    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    links: frozenset[Links] = ANY
    """Empty: any."""
    memory: frozenset[Memory] = ANY
    peers: frozenset[Peers] = ANY

    def suits(self, situation: Situation) -> bool:
        """Whether the situation is one of the row's."""
        asked = (
            (self.links, situation.links),
            (self.memory, situation.memory),
            (self.peers, situation.peers),
        )
        return all(not wanted or given in wanted for wanted, given in asked)


class AutoSettings(Frozen):
    """What is known of the job's peers and lines. With ``type: Auto`` the method is chosen from it before the first pod starts."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(
            "!has(self.bandwidthMbps) || double(self.bandwidthMbps) > 0.0",
            lambda auto: auto.bandwidth_mbps is None or float(auto.bandwidth_mbps) > 0,
            "bandwidthMbps: nothing goes over such a line; write more than 0, or remove it",
        ),
        Check(
            "!has(self.stepSeconds) || double(self.stepSeconds) > 0.0",
            lambda auto: auto.step_seconds is None or float(auto.step_seconds) > 0,
            "stepSeconds: no step takes no time; write more than 0, or remove it",
        ),
        Check(
            "!has(self.latencyMilliseconds) || has(self.bandwidthMbps)",
            lambda auto: auto.latency_milliseconds is None or auto.bandwidth_mbps is not None,
            "latencyMilliseconds: says little without bandwidthMbps; add that, or remove it",
        ),
    )

    bandwidth_mbps: Decimal | None = Field(
        default=None,
        description="Megabits a second between a peer and the others. Default: 1000 with network.bulk Direct, else unknown.",
    )
    latency_milliseconds: Decimal | None = Field(
        default=None,
        description="One way between a peer and the others. Default: 1 with network.bulk Direct, else 20.",
    )
    step_seconds: Decimal | None = Field(
        default=None,
        description="What an optimizer step of a whole batch takes the slowest peer. Default: estimated from "
        "model.footprint and the pools' devices.",
    )


def links_of(line: Line | None, work: Work | None, step_seconds: float) -> Links:
    """The class of a line, for peers that train so much and take so long for a step."""
    if line is None or work is None:
        return Links.UNKNOWN
    whole = line.seconds(FLOAT_BYTES * work.trainable, min(NEIGHBOURS, work.num_peers - 1))
    if whole <= SHORT_ROUND_STEPS * step_seconds:
        return Links.SHORT_ROUNDS
    if whole <= ROUND_STEPS * step_seconds:
        return Links.ROUNDS
    return Links.LONG_ROUNDS if whole <= LONG_ROUND_STEPS * step_seconds else Links.SCALARS


def pick(
    table: tuple[Row, ...], situation: Situation, may_have: Callable[[Row], bool]
) -> Row | None:
    """The first row for the situation whose method the job may have; None if there is none."""
    return next((row for row in table if row.suits(situation) and may_have(row)), None)
