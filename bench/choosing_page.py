"""The table of figures on the page that tells which method to choose, from the result files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.arms import ARMS, rate_of
from bench.pages import figures_if_any, table_of

KILO: Final = 1000
KINDS: Final = ("", "_cuda")
"""Of devices, by the end of a result file's name."""

Figures = Mapping[str, Any]


def choosing() -> str:
    """All methods on the same data. What is learned does not hang on the device, what it costs does."""
    learned = _rows(*(figures_if_any(f"choosing{kind}") for kind in KINDS))
    costs = _rows(figures_if_any("choosing_costs"))
    return f"{side_by_side(learned, costs)}\n{how(learned)}\n"


def side_by_side(learned: Mapping[str, Figures], costs: Mapping[str, Figures]) -> str:
    """One row each. ``costs``: by arm, on a core; any may be missing."""
    steps = " or ".join(str(steps) for steps in sorted({row["steps"] for row in learned.values()}))
    return table_of(
        [
            f"{steps} plain steps",
            "learning rate",
            "rounds",
            "held-out accuracy",
            "held-out loss",
            "a peer sent",
            "trained on",
            "seconds of a peer, on a core",
            "memory of all peers, on a core",
        ],
        (
            [
                name,
                rate_of(row["settings"]),
                str(row["rounds"]),
                _accuracy(row),
                f"{row['loss']:.3f}",
                _size(row["sent_bytes_per_peer"]),
                row["device"],
                _time(row, costs.get(name, {})),
                _memory(costs.get(name, {})),
            ]
            for name, row in learned.items()
        ),
    )


def how(learned: Mapping[str, Figures]) -> str:
    """Seeds, and how learning rates were found."""
    seeds = max(len(row["runs"]) for row in learned.values())
    told = (
        "One seed"
        if seeds == 1
        else f"Means over {seeds} seeds, the least and the most in brackets"
    )
    edge = [
        name
        for name, row in learned.items()
        if rate_of(row["settings"]) in (list(row["training_loss_by_rate"])[i] for i in (0, -1))
    ]
    at_edge = f" At the least or greatest that was tried: {'; '.join(edge)}." if edge else ""
    return (
        f"{told}; each learning rate is the best of three or four, which were tried for a third of the steps with another "
        f"seed and judged by the mean model's loss on training texts.{at_edge}"
    )


def _rows(*files: Figures) -> dict[str, Figures]:
    """Those of all files, each with the device of its own."""
    found = {
        name: {"device": file["device"], **row}
        for file in files
        for name, row in file.items()
        if isinstance(row, Mapping)
    }
    return {name: found[name] for name in ARMS if name in found}


def _accuracy(row: Figures) -> str:
    """Over the seeds: mean, least and most."""
    found = [100 * run["accuracy"] for run in row["runs"]]
    between = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
    return f"{100 * row['accuracy']:.1f} %{between}"


def _size(num_bytes: int) -> str:
    if num_bytes == 0:
        return "nothing"
    return f"{num_bytes} B" if num_bytes < KILO else f"{num_bytes / KILO:,.0f} kB"


def _time(row: Figures, cost: Figures) -> str:
    return f"{row['rounds'] * cost['ms_a_round'] / 1000:.0f}" if cost else "not measured"


def _memory(cost: Figures) -> str:
    return f"{cost['peak_mib']:,} MiB" if cost else "not measured"
