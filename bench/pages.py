"""The tables of figures on the methods' pages, from the result files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"


def result(name: str) -> dict[str, Any]:
    """A result file of ``bench/results``."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def table_of(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def methods() -> str:
    """All methods on the same data, one row each."""
    figures = result("choosing")["figures"]
    return table_of(
        [
            "method",
            "rounds",
            "held-out accuracy",
            "held-out loss",
            "a peer sent",
            "CPU-seconds of all",
            "peak memory",
        ],
        (
            [
                name,
                str(row["rounds"]),
                f"{100 * row['accuracy']:.1f} %",
                f"{row['loss']:.3f}",
                _size(row["sent_bytes_per_peer"]),
                f"{row['cpu_seconds']:.0f}",
                f"{row['peak_mib']} MiB",
            ]
            for name, row in figures.items()
            if isinstance(row, Mapping)
        ),
    )


def _size(num_bytes: int) -> str:
    kilobyte = 1000
    return f"{num_bytes} B" if num_bytes < kilobyte else f"{num_bytes / kilobyte:.0f} kB"


def spsa_log() -> str:
    """What SPSA's log costs: bytes by number of machines, then replaying and joining."""
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


def flexdemo_wan() -> str:
    """Time to equal loss by scheme and line, and what was lost."""
    figures = result("flexdemo_wan")["figures"]
    lines = list(figures["timings"])
    rows = figures["rows"]
    usual = rows[0]["seconds_to_target"]
    return table_of(
        ["scheme", "learning rate", "final loss", "kB sent a step", "steps to target", *lines],
        (
            [
                row["scheme"],
                row["learning_rate"],
                f"{row['final_loss']:.3f}",
                f"{row['bytes_sent_a_step'] / 1000:,.0f}",
                str(row["steps_to_target"] or "not reached"),
                *(_sooner(row["seconds_to_target"][line], usual[line]) for line in lines),
            ]
            for row in rows
        ),
    )


def _sooner(seconds: float | None, usual: float) -> str:
    return f"{seconds:,.0f} s ({usual / seconds:.1f} x)" if seconds else ""


def declora_quality() -> str:
    """Dec-LoRA's options on the same data, and Dec-LoRA beside NVFlare."""
    summary = result("declora_quality")["figures"]["summary"]
    options = table_of(
        ["arm", "held-out accuracy", "held-out loss", "loss against ring", "bytes against ring"],
        (
            [
                arm,
                f"{row['accuracy_percent']['median']:.1f} %",
                f"{row['loss']['median']:.3f}",
                f"{row['loss_against_ring_percent']['median']:+.2f} %",
                f"{row['bytes_against_ring']:.2f}",
            ]
            for arm, row in summary.items()
        ),
    )
    return f"{options}\n{_versus('nvflare_ring', 'LoRA on a ring')}"


def d2ft_step() -> str:
    """Time and kept bytes of a step in slices, against everything in full."""
    figures = result("d2ft_step")["figures"]
    return table_of(
        [
            "trained",
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


def droppeft() -> str:
    """A step by drop rate, DropPEFT beside Flower, and what the configurator comes to, by class of machine."""
    figures = result("droppeft_step")["figures"]
    steps = table_of(
        ["drop rate", "ms a step", "of the time at 0", "of the layers' saved bytes at 0"],
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
    return f"{steps}\n{_versus('flower_fedavg', 'FedAvg of LoRA')}\n{_bandit()}"


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


def _versus(name: str, what: str) -> str:
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
