"""The tables of figures on the page that tells which method to choose, from the result files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.arms import rate_of
from bench.pages import figures_if_any, table_of

KILO: Final = 1000

Figures = Mapping[str, Any]


def choosing() -> str:
    """All methods on the same data, a table for each kind of pool."""
    kinds = (
        (figures_if_any(f"choosing{kind}"), figures_if_any(f"choosing_costs{kind}"))
        for kind in ("", "_cuda")
    )
    return "\n".join(
        f"{side_by_side(learned, costs)}\n{how(learned)}\n" for learned, costs in kinds if learned
    )


def side_by_side(learned: Figures, costs: Figures) -> str:
    """One row each, of what was measured on one device. ``costs``: by arm; any may be missing."""
    rows = _rows(learned)
    device = learned.get("device", "cpu")
    steps = " or ".join(str(steps) for steps in sorted({row["steps"] for row in rows.values()}))
    return table_of(
        [
            f"on {'one core' if device == 'cpu' else f'one {device}'}, {steps} plain steps",
            "learning rate",
            "rounds",
            "held-out accuracy",
            "held-out loss",
            "a peer sent",
            "CPU-seconds of all" if device == "cpu" else "seconds of a peer",
            "peak memory",
        ],
        (
            [
                name,
                rate_of(row["settings"]),
                str(row["rounds"]),
                _accuracy(row),
                f"{row['loss']:.3f}",
                _size(row["sent_bytes_per_peer"]),
                _time(device, row, costs.get(name, {})),
                _memory({**row, **costs.get(name, {})}),
            ]
            for name, row in rows.items()
        ),
    )


def how(learned: Figures) -> str:
    """Seeds, and how learning rates were found."""
    rows = _rows(learned)
    seeds = max(len(row.get("runs", (0,))) for row in rows.values())
    told = (
        "One seed"
        if seeds == 1
        else f"Means over {seeds} seeds, the least and the most in brackets"
    )
    if not all("training_loss_by_rate" in row for row in rows.values()):
        return f"{told}; learning rates were not searched for."
    edge = [
        name
        for name, row in rows.items()
        if rate_of(row["settings"]) in (list(row["training_loss_by_rate"])[i] for i in (0, -1))
    ]
    at_edge = f" At the least or greatest that was tried: {'; '.join(edge)}." if edge else ""
    return (
        f"{told}; each learning rate is the best of three or four, which were tried for a third of the steps with another "
        f"seed and judged by the mean model's loss on training texts.{at_edge}"
    )


def _rows(learned: Figures) -> dict[str, Figures]:
    return {name: row for name, row in learned.items() if isinstance(row, Mapping)}


def _accuracy(row: Figures) -> str:
    """Over the seeds: mean, least and most."""
    found = [100 * run["accuracy"] for run in row.get("runs", ())]
    between = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
    return f"{100 * row['accuracy']:.1f} %{between}"


def _size(num_bytes: int) -> str:
    if num_bytes == 0:
        return "nothing"
    return f"{num_bytes} B" if num_bytes < KILO else f"{num_bytes / KILO:,.0f} kB"


def _time(device: str, row: Figures, cost: Figures) -> str:
    if device == "cpu":
        return f"{row['cpu_seconds']:.0f}"
    return f"{row['rounds'] * cost['ms_a_round'] / 1000:.0f}" if cost else "not measured"


def _memory(row: Figures) -> str:
    return f"{row['peak_mib']:,} MiB" if "peak_mib" in row else "not measured"
