"""The arms of ``bench.choosing``: what each trains with, which learning rates it tries, and how many rounds it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.traffic import Work

PEERS: Final = 4
NUM_LAYERS: Final = 6


class Who(Enum):
    """Trains."""

    ALL = auto()
    FIRST = auto()
    """The first peer on its own part."""
    POOLED = auto()
    """One peer with all data and as many samples a step as all peers."""


@dataclass(frozen=True, slots=True)
class Arm:
    method: str
    settings: Mapping[str, Any]
    """All but the learning rate and the warm-up."""
    rates: tuple[str, ...]
    """Learning rates that are tried."""
    who: Who = Who.ALL
    warm_up_percent: int = 0
    """Of the plain steps, those that come before anything is skipped."""


ADAMW: Final = ("0.001", "0.003", "0.01")
_ROUNDS_OF_FOUR: Final = {"localSteps": 4}
_THREE_IN_FOUR: Final[Mapping[str, Any]] = {
    "microBatches": 4,
    "solver": "Slots",
    "slots": {"full": 3, "forwardOnly": 0},
    "gossip": _ROUNDS_OF_FOUR,
}
ARMS: Final[Mapping[str, Arm]] = {
    "D2FT": Arm("D2FT", _THREE_IN_FOUR, ADAMW, warm_up_percent=10),
    "D2FT, rescaled": Arm(
        "D2FT", {**_THREE_IN_FOUR, "rescale": "TrainInverse"}, ADAMW, warm_up_percent=10
    ),
    "DecLoRA": Arm("DecLoRA", _ROUNDS_OF_FOUR, ADAMW),
    "DropPEFT": Arm("DropPEFT", {**_ROUNDS_OF_FOUR, "dropRate": "0.33"}, ADAMW),
    "FlexDeMo, signs": Arm("FlexDeMo", {"beta": "0.9"}, ("0.0003", "0.001", "0.003")),
    "FlexDeMo, Full AdamW": Arm("FlexDeMo", {"scheme": "Full", "update": "AdamW"}, ADAMW),
    "SPSA": Arm(
        "SPSA",
        {"directions": 4, "sharedBatch": True, "pointsPerPass": 8},
        ("0.001", "0.003", "0.01", "0.03"),
    ),
    "one peer alone": Arm("DecLoRA", _ROUNDS_OF_FOUR, ADAMW, Who.FIRST),
    "all data at one peer": Arm("DecLoRA", _ROUNDS_OF_FOUR, ADAMW, Who.POOLED),
}
"""The methods, and what they stand between."""


def settings_of(arm: Arm, rate: str, steps: int) -> dict[str, Any]:
    """``steps``: plain ones that a peer may compute."""
    settings = dict(arm.settings)
    if "gossip" in settings:
        settings["gossip"] = {**settings["gossip"], "learningRate": rate}
    else:
        settings["learningRate"] = rate
    if arm.warm_up_percent:
        settings["warmUpSteps"] = _warm_up(arm, steps)
    return settings


def rate_of(settings: Mapping[str, Any]) -> str:
    """The learning rate in them."""
    return str(settings.get("gossip", settings)["learningRate"])


def num_rounds(arm: Arm, steps: int) -> int:
    """As many as a peer can compute in so many plain steps, by the method's own forecast; at least one."""
    card = METHODS[arm.method]
    settings = card.load_settings().model_validate(settings_of(arm, arm.rates[0], steps))
    a_round = card.load_forecast().a_round(settings, Work(1, NUM_LAYERS, PEERS))
    warm_up = _warm_up(arm, steps)
    in_full = warm_up / arm.settings["gossip"]["localSteps"] if warm_up else 0
    return max(1, round(in_full + (steps - warm_up) / a_round.steps))


def best_rate(losses: Mapping[str, float]) -> str:
    """Of the rates, that with the lowest loss; a loss that is not finite is worse than any."""
    return min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf)


def _warm_up(arm: Arm, steps: int) -> int:
    return steps * arm.warm_up_percent // 100
