"""The schemes of ``bench.flexdemo_wan``, the search for their learning rates, and the time to equal loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.arms import best_rate

REFERENCE: Final = "full-sync AdamW"
SCHEMES: Final[Mapping[str, Mapping[str, Any]]] = {
    REFERENCE: {"scheme": "Full", "update": "AdamW"},
    "full-sync sign-momentum": {"scheme": "Random", "rate": "1", "alpha": "0", "beta": "0.9"},
    "DeMo 4/64": {"scheme": "DeMo", "chunk": 64, "topK": 4, "beta": "0.99"},
    "DeMo 4/64, delay 1": {"scheme": "DeMo", "chunk": 64, "topK": 4, "beta": "0.99", "delay": 1},
    "Random 1/16": {"scheme": "Random", "rate": "0.0625", "beta": "0.99"},
    "Striding 1/16": {"scheme": "Striding", "rate": "0.0625", "beta": "0.99"},
    "DiLoCo": {"scheme": "DiLoCo", "syncEvery": 20},
}
RECKONED: Final = ("full-sync sign-momentum", "DiLoCo")
"""Send as much at a time as the reference, so that its exchange stands for theirs."""
TARGET_SHARE: Final = 0.8
"""The loss to come to is the one that the reference has at its last evaluation within this share of its steps."""
LADDER: Final = (
    *("0.00001", "0.00003", "0.0001", "0.0003"),
    *("0.001", "0.003", "0.01", "0.03", "0.1"),
)

Curve = Mapping[str, Any]


def steps_a_round(scheme: str) -> int:
    return int(SCHEMES[scheme].get("syncEvery", 1))


def due(losses: Mapping[str, float]) -> list[str]:
    """Learning rates that are to be tried next, by the final losses of those that were, at least one: the neighbours of
    the best, or of the lowest where all diverged. None once both are worse than it."""
    place = LADDER.index(best_rate({rate: losses[rate] for rate in LADDER if rate in losses}))
    around = LADDER[max(0, place - 1) : place + 2]
    return [rate for rate in around if rate not in losses]


def final_loss(curve: Curve) -> float:
    return float(curve["losses"][-1][1])


def steps_to(curve: Curve, target: float) -> int | None:
    """The first evaluated step at which the loss is reached."""
    return next((int(step) for step, loss in curve["losses"] if loss <= target), None)


def best(tried: Sequence[Curve]) -> Curve:
    """At the learning rate that ends lowest."""
    curves = {curve["learning_rate"]: curve for curve in tried}
    return curves[best_rate({rate: final_loss(curve) for rate, curve in curves.items()})]


def target_of(tried: Sequence[Curve]) -> float:
    """By the reference's curves."""
    losses = best(tried)["losses"]
    return float(losses[int(len(losses) * TARGET_SHARE) - 1][1])


def rows(
    curves: Mapping[str, Sequence[Curve]], timed: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """For each scheme and line, how long it takes to come to the loss; None: it does not."""
    target = target_of(curves[REFERENCE])
    found = []
    for name, tried in curves.items():
        curve = best(tried)
        steps = steps_to(curve, target)
        found.append(
            {
                "scheme": name,
                "learning_rate": curve["learning_rate"],
                "final_loss": final_loss(curve),
                "final_accuracy": curve["accuracies"][-1][1] if "accuracies" in curve else None,
                "bytes_sent_a_step": curve["bytes_sent_a_step"],
                "steps_to_target": steps,
                "seconds_to_target": {
                    line: steps and round(steps * seconds[name]["seconds_a_step"]["median"], 1)
                    for line, seconds in timed.items()
                },
            }
        )
    return found


def for_all(timed: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Timings of those that were timed, and of the others by the reference's exchange."""
    whole = timed[REFERENCE]
    step = whole["compute_seconds_a_step"]["median"]
    exchange = whole["seconds_a_step"]["median"] - step
    reckoned = {
        name: {"seconds_a_step": {"median": round(step + exchange / steps_a_round(name), 4)}}
        for name in RECKONED
    }
    return {name: {**timed, **reckoned}[name] for name in SCHEMES}
