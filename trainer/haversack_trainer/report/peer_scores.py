"""The card of three kinds of scores, which answer different questions and are never one figure."""

from __future__ import annotations

from haversack_trainer.contract.report import Evaluation, RunProgress
from haversack_trainer.contract.scores import Kinds, kinds

from .charts import figures
from .sections import card, table_of
from .svg import plain
from .units import counted

Row = tuple[str, str, int]


def scores_section(progress: RunProgress) -> str:
    """Personalised, consensus, mean over peers; nothing where the job did not ask."""
    found = kinds(progress.scores)
    if found is None:
        return ""
    each = [
        (
            f"peer {peer}",
            figures(scores.personal),
            scores.personal.num_samples,
            figures(scores.common),
        )
        for peer, scores in sorted(progress.scores.items())
    ]
    return card(
        "Personalised, consensus, mean",
        plain(
            f"What {counted(len(each), 'peer')} made of their own samples and of the common ones; every peer counts "
            "once. Figures of different rows answer different questions and are not to be compared."
        ),
        table_of(("score", "held-out loss", "samples"), _rows(found, progress)),
        table=table_of(("model of", "own samples", "number", "common samples"), each),
    )


def _rows(found: Kinds, progress: RunProgress) -> list[Row]:
    personal, common, verdict = found.personal, found.common, progress.verdict
    rows = [
        _row("personalised: each peer's model on its own samples, mean", personal.mean),
        _row(f"personalised: the worst peer, {personal.worst_peer}", personal.worst),
        _row("mean over peers: each peer's model on the common samples", common.mean),
    ]
    if verdict is not None:
        rows.insert(2, _row("consensus: the run's adapter on the common samples", verdict.after))
    return rows


def _row(name: str, found: Evaluation) -> Row:
    return name, figures(found), found.num_samples
