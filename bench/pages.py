"""The tables of figures on the methods' pages, from the result files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"


def result(name: str) -> dict[str, Any]:
    """A result file of ``bench/results``."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def figures_if_any(name: str) -> dict[str, Any]:
    """Those of a result file; none where nothing is measured yet."""
    return dict(result(name)["figures"]) if (RESULTS / f"{name}.json").is_file() else {}


def table_of(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spsa() -> str:
    """How well SPSA learns, and what its log costs."""
    return f"{_spsa_learning()}\n{_spsa_log()}"


def _spsa_learning() -> str:
    """Each arm after forward passes that all of them made, and at its best."""
    arms = result("spsa_learning_cuda")["figures"]["arms"]
    shared = min(len(points) for points in arms.values()) - 1
    return table_of(
        [
            "SmolLM2-135M",
            f"held-out loss and accuracy after {arms['MeZO'][shared]['forwards']:,} forward passes",
            "its rounds by then",
            "lowest loss",
            "after forward passes",
            "last loss",
            "after",
        ],
        (_spsa_row(arm, points, shared) for arm, points in arms.items()),
    )


def _spsa_row(arm: str, points: list[dict[str, Any]], shared: int) -> list[str]:
    then, last = points[shared], points[-1]
    best = min(points, key=lambda point: float(point["held_out_loss"]))
    rounds = sum(len(point["training_losses"]) for point in points[: shared + 1])
    return [
        arm,
        f"{then['held_out_loss']:.3f}, {100 * then['held_out_accuracy']:.1f} %",
        f"{rounds:,}",
        f"{best['held_out_loss']:.3f}, {100 * best['held_out_accuracy']:.1f} %",
        f"{best['forwards']:,}",
        f"{last['held_out_loss']:.3f}",
        f"{last['forwards']:,}",
    ]


def _spsa_log() -> str:
    """Bytes by number of machines, then replaying and joining."""
    found = result("spsa_log")
    figures, load = found["figures"], found["machine"]["load_average"]
    lines = [
        "| machines | log up / down, bytes | formula | on the socket up / down | ms a round |",
        "|---|---|---|---|---|",
    ]
    for name, step in figures["steps"].items():
        log, formula, wire = (
            f"{step[up]:.0f} / {step[down]:,.0f}"
            for up, down in (
                ("log_bytes_up_per_machine_and_step", "log_bytes_down_per_machine_and_step"),
                ("formula_up", "formula_down"),
                ("socket_bytes_up_per_machine_and_step", "socket_bytes_down_per_machine_and_step"),
            )
        )
        machines = name.partition("_")[0]
        lines.append(
            f"| {machines} | {log} | {formula} | {wire} | {step['ms_per_step']['median']:.0f} |"
        )
    lines += ["", f"| replay or join (load of the machine: {load:.0f}) | seconds |", "|---|---|"]
    for name, case in figures["replay"].items():
        rounds, _, count, _ = name.split("_")
        lines.append(
            f"| replay {int(rounds):,} rounds to {int(count):,} weights, {case['log_bytes']:,} bytes of log | "
            f"{case['seconds_log'] + case['seconds_weights']:.1f} |"
        )
    for name, case in figures["join"].items():
        seconds = case["seconds_fetch"] + case["seconds_check_and_read"]
        lines.append(
            f"| fetch, check and read the log of {int(name.split('_')[0]):,} rounds | {seconds:.2f} |"
        )
    return "\n".join(lines) + "\n"


def declora_quality() -> str:
    """Dec-LoRA's options on the same data, and Dec-LoRA beside NVFlare."""
    tables = [
        _options("digits", result("declora_quality_digits")["figures"]),
        _options("docstrings", result("declora_quality_cuda")["figures"]),
        versus("nvflare_ring", "LoRA on a ring"),
    ]
    return "\n".join(tables)


def _options(task: str, figures: Mapping[str, Any]) -> str:
    """Medians over the seeds."""
    steps = f"{figures['rounds']} rounds of {figures['local_steps']} steps"
    return table_of(
        [
            f"{task}, {steps}",
            "held-out accuracy",
            "points against pooled",
            "held-out loss",
            "against ring",
            "bytes against ring",
        ],
        (
            [
                arm,
                f"{row['accuracy_percent']['median']:.1f} %",
                f"{row['accuracy_against_pooled_points']['median']:+.1f}",
                f"{row['loss']['median']:.3f}",
                f"{row['loss_against_ring_percent']['median']:+.2f} %",
                f"{row['bytes_against_ring']:.2f}",
            ]
            for arm, row in figures["summary"].items()
        ),
    )


def d2ft() -> str:
    """A step in slices, and what skipping costs in quality."""
    return f"{_d2ft_step('d2ft_step')}\n{_d2ft_step('d2ft_step_cuda')}\n{_d2ft_quality()}"


def _d2ft_quality() -> str:
    """Means over the seeds, against full steps."""
    figures = result("d2ft_quality")["figures"]
    return table_of(
        ["trained", "operations", "of the work", "held-out accuracy", "points against all in full"],
        (
            [
                training,
                arm,
                f"{row['compute_share']:.2f}",
                f"{row['accuracy_percent']['median']:.1f} %",
                f"{row['mean_points_against_full']:+.1f}",
            ]
            for training in ("lora", "all weights")
            for arm, row in figures.get(training, {"summary": {}})["summary"].items()
        ),
    )


def _d2ft_step(name: str) -> str:
    """Time and kept bytes of a step in slices, against everything in full."""
    figures = result(name)["figures"]
    device = figures.get("accelerator", "one core")
    return table_of(
        [
            f"trained, on {device}",
            "in full, forward only, skipped",
            "of the time",
            "modelled",
            "of the saved bytes",
        ],
        (
            [
                training,
                slots,
                f"{row['of_the_time']['median']:.2f}",
                f"{row['modelled']:.2f}",
                f"{row['of_the_bytes']:.2f}",
            ]
            for training in ("lora", "all weights")
            for slots, row in figures[training].items()
        ),
    )


def versus(name: str, what: str) -> str:
    """Ours and another framework on the same task."""
    return table_of(
        [
            what,
            "held-out accuracy",
            "held-out loss",
            "CPU-seconds of all local steps",
            "of a round beyond them",
            "a peer sends / gets in a round",
        ],
        (
            [
                arm,
                f"{row['accuracy_percent']['median']:.2f} %",
                f"{row['loss']['median']:.4f}",
                f"{row['local_cpu_seconds']['median']:.0f}",
                f"{row['beyond_cpu_seconds_a_round']['median']:.2f}",
                f"{row['up_kilobytes_a_round']:.0f} / {row['down_kilobytes_a_round']:.0f} kB",
            ]
            for arm, row in result(name)["figures"]["summary"].items()
        ),
    )
