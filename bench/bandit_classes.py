"""Which drop rate DropPEFT's configurator comes to, for machines that differ: a simulation of its choices.

The configurators are the method's own, one a peer, and read one log; what fits is judged by the method's memory model. Nothing is
trained: a round's seconds follow from the step times that ``droppeft_step`` measured, a line through them, and what it
gains is assumed to be (1 - p)^a, p being the share of layers that were dropped, shrinking from round to round, with noise. How much learning is lost by dropping
hangs on task and model, so two laws are tried: less is lost than time (a = 0.5), and more (a = 1.5).
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from bench.figures import write
from bench.pages import result

from haversack_trainer.contract.adapter import AdapterSpec
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.spec import Footprint
from haversack_trainer.contract.weights import weights_of
from haversack_trainer.methods.droppeft.configurator import Configurator
from haversack_trainer.methods.droppeft.rates import Rates, shape_weights, water_fill
from haversack_trainer.methods.droppeft.settings import Settings
from haversack_trainer.methods.droppeft.word import Trial

FOOTPRINT: Final = Footprint(parameters=110_000_000, hidden_size=768, num_layers=12)
SETTINGS: Final = Settings.model_validate(
    {"configurator": "EpsilonGreedy", "localSteps": 10, "roundSeconds": 30}
)
LENGTH: Final = 256
MICRO_BATCH: Final = 16
PEERS_OF_A_CLASS: Final = 3
ROUNDS: Final = 60
LAST: Final = 20
"""Rounds at the end whose choices are counted."""
NOISE: Final = 0.2
FADING: Final = 0.97
LAWS: Final = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of machines."""

    name: str
    slowness: float
    """Of a step, beside the machine that was measured."""
    memory_mib: int


KINDS: Final = (
    Kind("quick", 1.0, 16_384),
    Kind("slow", 3.0, 16_384),
    Kind("tight memory", 1.0, 8_192),
)


def rates_of(mean_rate: float) -> Rates:
    weights = shape_weights(SETTINGS.shape, FOOTPRINT.num_layers)
    return water_fill(weights, {0}, mean_rate, float(SETTINGS.max_drop_rate))


def fits(kind: Kind, active_layers: int) -> bool:
    peak = METHODS["DropPEFT"].memory.peak_bytes(
        FOOTPRINT,
        weights_of(FOOTPRINT, AdapterSpec()),
        max_length=LENGTH,
        micro_batch=MICRO_BATCH,
        on_device=False,
        active_layers=active_layers,
    )
    return peak <= kind.memory_mib * 2**20


def measured_line() -> tuple[float, float]:
    """Seconds of a step with all layers, and by how many fewer it would be with none."""
    steps = result("droppeft_step")["figures"]["step_ms"]
    slope, whole = np.polyfit(
        [float(rate) for rate in steps], [step["median"] / 1000 for step in steps.values()], 1
    )
    return float(whole), float(-slope)


def choices(law: float, seed: int, num_rounds: int) -> dict[str, Counter[float]]:
    """By class, how often each rate was chosen in the last rounds."""
    whole, saved = measured_line()
    random = np.random.default_rng(seed)
    kinds = [kind for kind in KINDS for _ in range(PEERS_OF_A_CLASS)]
    crew = [
        Configurator(SETTINGS, peer, seed, rates_of, partial(fits, kind))
        for peer, kind in enumerate(kinds)
    ]
    counts = {kind.name: Counter[float]() for kind in KINDS}
    for number in range(num_rounds):
        trials = {}
        for peer, kind in enumerate(kinds):
            arm = crew[peer].pick(number, kind.name)
            seconds = SETTINGS.local_steps * kind.slowness * (whole - saved * arm)
            noise = 1 + NOISE * float(random.standard_normal())
            trials[peer] = Trial(arm, (1 - arm) ** law * FADING**number * noise, seconds, kind.name)
            if number >= num_rounds - LAST:
                counts[kind.name][arm] += 1
        for each in crew:
            each.note(number, trials)
    return counts


def figures_of(law: float, num_seeds: int, num_rounds: int) -> dict[str, Any]:
    """Of each class: the rate that was chosen most in the last rounds, by seed; and the mean of all choices then."""
    runs = [choices(law, seed, num_rounds) for seed in range(num_seeds)]
    figures = {}
    for kind in KINDS:
        by_seed = [run[kind.name].most_common(1)[0][0] for run in runs]
        total = sum((run[kind.name] for run in runs), Counter[float]())
        figures[kind.name] = {
            "rate_by_seed": by_seed,
            "mean_rate": round(sum(arm * n for arm, n in total.items()) / total.total(), 2),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    figures = {
        "layers": FOOTPRINT.num_layers,
        "seeds": chosen.seeds,
        "rounds": chosen.rounds,
        "round_seconds": SETTINGS.round_seconds,
        "classes": {
            kind.name: {
                "seconds_at_0": round(SETTINGS.local_steps * kind.slowness * measured_line()[0], 1),
                "memory_mib": kind.memory_mib,
                "most_layers": max(n for n in range(FOOTPRINT.num_layers + 1) if fits(kind, n)),
            }
            for kind in KINDS
        },
        "laws": {f"{law:g}": figures_of(law, chosen.seeds, chosen.rounds) for law in LAWS},
    }
    write("bandit_classes", figures)


if __name__ == "__main__":
    main()
