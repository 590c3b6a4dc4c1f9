"""One HTML file that tells a run: no script, no address that is loaded, nothing to install."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.report import RunProgress, Verdict

from .charts import figures
from .events import Event
from .peer_scores import scores_section
from .sections import (
    loss_section,
    peers_section,
    placement_section,
    settings_section,
    traffic_section,
    verdict_section,
)
from .story import Story, tell
from .svg import element, plain
from .units import counted, duration, size

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Should a hostile name ever get past the escaping, a browser still runs and loads nothing."""
_SACK: Final = (
    '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 8.5a6 4.5 0 0 1 12 0V16a2 2 0 0 1-2 2H6a2 2 0 0 1'
    '-2-2zM7.5 4.6V3.4a2.5 1.9 0 0 1 5 0v1.2M4 9.5h12M8.5 9.5v3h3v-3"/></svg>'
)


def render(job: JobFile, progress: RunProgress, events: Sequence[Event]) -> str:
    """The report of a run that ended, or of one that goes on."""
    story = tell(events)
    verdict = progress.verdict
    sections = [
        verdict_section(verdict, job) if verdict else "",
        scores_section(progress),
        loss_section(story),
        traffic_section(story),
        peers_section(story),
        placement_section(progress),
        settings_section(job),
    ]
    body = element(
        "main",
        _head(job, progress),
        _keys(job, progress, story),
        element("div", *sections, class_="grid"),
        _foot(progress),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{plain(job.job)} · Haversack</title><style>{_style()}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _style() -> str:
    return (files(__package__) / "style.css").read_text(encoding="utf-8")


def _head(job: JobFile, progress: RunProgress) -> str:
    word, mood = _state(progress)
    model = job.model.uri.rstrip("/").rpartition("/")[2]
    data = job.dataset.uri.rstrip("/").rpartition("/")[2]
    return element(
        "header",
        element("div", _SACK, "haversack", class_="brand"),
        element("h1", plain(job.job), " ", element("span", word, class_=f"chip {mood}")),
        element(
            "p",
            plain(f"{model} on {data} by {job.method.type}, {counted(job.num_peers, 'peer')}"),
            class_="lead",
        ),
    )


def _state(progress: RunProgress) -> tuple[str, str]:
    """A word and its colour."""
    if progress.published:
        return "Published", "good"
    if progress.verdict is None:
        return "Running", "wait"
    if not progress.verdict.passed:
        return "Gate failed", "bad"
    return ("Approved" if progress.approved_by else "Passed, not published yet"), "wait"


def _keys(job: JobFile, progress: RunProgress, story: Story) -> str:
    took = "–"
    if story.began is not None and story.ended is not None:
        took = duration(story.ended - story.began)
    rows = [
        *_quality(progress.verdict, story),
        ("Rounds", f"{progress.round} <small>of {progress.rounds or job.training.rounds}</small>"),
        (
            "Peers now" if progress.verdict is None else "Peers at the end",
            f"{len(progress.view)} <small>of {job.num_peers}</small>",
        ),
        ("Sent, all peers", size(story.traffic_bytes)),
        ("Time", took),
    ]
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in rows),
        class_="keys",
    )


def _quality(verdict: Verdict | None, story: Story) -> list[tuple[str, str]]:
    """What most readers came for: better or not."""
    if verdict is None:
        return [("Held-out loss", f"{story.held_out[-1][1]:.3f}" if story.held_out else "–")]
    before, after = verdict.before, verdict.after
    rows = [("Held-out loss", f"<small>{before.loss:.3f} →</small> {after.loss:.3f}")]
    if before.accuracy is not None and after.accuracy is not None:
        rows.insert(0, ("Accuracy", f"<small>{before.accuracy:.1%} →</small> {after.accuracy:.1%}"))
    return rows


def _foot(progress: RunProgress) -> str:
    lines = [f"Run {plain(progress.run)}: {progress.num_records} records in the log"]
    if progress.head:
        lines.append(f"hash of the whole log {element('code', plain(progress.head))}")
    if progress.refused:
        lines.append(f"{progress.refused} records or connections refused")
    if progress.evaluation:
        lines.append(f"last evaluation {plain(figures(progress.evaluation))}")
    return element("footer", " · ".join(lines))
