"""The tables of figures on FlexDeMo's page, from the result files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.pages import result, table_of
from bench.wan_schemes import REFERENCE, rows, target_of

TASKS: Final = {
    "minilm_full": "MiniLM, all of its weights",
    "minilm_lora": "MiniLM, LoRA",
    "small_lm": "a small model from nothing",
}


def flexdemo() -> str:
    """Time to equal loss, by what is trained."""
    return "\n".join(
        _time_to_equal_loss(what, result(f"flexdemo_wan_{task}")["figures"])
        for task, what in TASKS.items()
    )


def _time_to_equal_loss(what: str, figures: Mapping[str, Any]) -> str:
    """By scheme and line, and what was lost."""
    lines = list(figures["timings"])
    found = rows(figures["curves"], figures["timings"])
    usual = found[0]["seconds_to_target"]
    return table_of(
        [
            f"{what} ({figures['weights']:,}), {figures['steps']} steps",
            "learning rate",
            "final loss",
            "kB sent a step",
            f"steps to loss {target_of(figures['curves'][REFERENCE]):.3f}",
            *lines,
        ],
        (
            [
                row["scheme"],
                row["learning_rate"],
                _final(row),
                f"{row['bytes_sent_a_step'] / 1000:,.0f}",
                str(row["steps_to_target"] or "not reached"),
                *(_sooner(row["seconds_to_target"][line], usual[line]) for line in lines),
            ]
            for row in found
        ),
    )


def _final(row: Mapping[str, Any]) -> str:
    accuracy = row["final_accuracy"]
    return f"{row['final_loss']:.3f}" + (f", {100 * accuracy:.1f} %" if accuracy else "")


def _sooner(seconds: float | None, usual: float) -> str:
    return f"{seconds:,.0f} s ({usual / seconds:.1f} x)" if seconds else ""
