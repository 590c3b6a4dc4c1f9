"""The tables of figures on DropPEFT's page, from the result files."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from bench.pages import result, table_of, versus


def droppeft() -> str:
    """A step by drop rate, DropPEFT beside Flower, what the configurator comes to, and what FedAvg does."""
    steps = "\n".join(_steps(name) for name in ("droppeft_step", "droppeft_step_cuda"))
    beside = versus("flower_fedavg", "FedAvg of LoRA")
    return f"{steps}\n{beside}\n{_bandit()}\n{_to_target()}\n{_personal()}"


def _steps(name: str) -> str:
    figures = result(name)["figures"]
    return table_of(
        [
            f"drop rate, on {figures.get('accelerator', 'one core')}",
            "ms a step",
            "of the time at 0",
            "of the layers' saved bytes at 0",
        ],
        (
            [
                rate,
                f"{step['median']:.0f}",
                f"{figures['of_the_time'][rate]['median']:.2f}",
                f"{figures['saved'][rate]['of_the_layers_part']:.2f}",
            ]
            for rate, step in figures["step_ms"].items()
        ),
    )


def _to_target() -> str:
    """How much sooner than FedAvg an accuracy is come to, over the seeds that did."""
    found = {
        alpha: result(f"droppeft_target_digits_alpha_{alpha}")["figures"]["summary"]
        for alpha in ("0.1", "1.0")
    }
    return table_of(
        [
            "alpha",
            "arm",
            "accuracy at the end",
            "CPU-seconds",
            "as fast to 80 % of FedAvg's end",
            "to all of it",
        ],
        (
            [
                alpha,
                arm,
                _span(row["accuracy_percent"], " %"),
                f"{row['cpu_seconds']['median']:.1f}",
                *(_times(to) for to in row["to"].values()),
            ]
            for alpha, summary in found.items()
            for arm, row in summary.items()
        ),
    )


def _times(to: Mapping[str, Any]) -> str:
    times, seeds = to["times_as_fast"], to["seeds_at_target"]
    return f"{times['median']:.2f} x ({seeds} seeds)" if times else "not reached"


def _span(spread: Mapping[str, float], unit: str = "") -> str:
    return f"{spread['median']:.1f}{unit} ({spread['min']:.1f} to {spread['max']:.1f})"


def _personal() -> str:
    """Peers' own states on their own samples."""
    figures = result("droppeft_personal")["figures"]
    return table_of(
        ["alpha", "arm", "own state on own samples", "points above FedAvg's", "published adapter"],
        (
            [
                alpha.removeprefix("alpha "),
                arm,
                _span(row["personal_percent"], " %"),
                _span(row["points_above_fedavg"]),
                f"{row['shared_percent']['median']:.1f} %",
            ]
            for alpha, found in figures.items()
            if isinstance(found, Mapping)
            for arm, row in found["summary"].items()
        ),
    )


def _bandit() -> str:
    figures = result("bandit_classes")["figures"]
    laws = figures["laws"]
    return table_of(
        [
            "class of machine",
            "seconds of a round at 0",
            "layers that fit",
            *(f"rate chosen, gain (1 - p)^{law}" for law in laws),
        ],
        (
            [
                name,
                f"{kind['seconds_at_0']:.0f}",
                f"{kind['most_layers']} of {figures['layers']}",
                *(_rates(found[name]["rate_by_seed"]) for found in laws.values()),
            ]
            for name, kind in figures["classes"].items()
        ),
    )


def _rates(by_seed: list[float]) -> str:
    return f"{median(by_seed):.2g} ({min(by_seed):g} to {max(by_seed):g})"
