"""The cards of a report: a heading, a picture, and the same figures as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.report import PeerReport, RunProgress, Verdict

from .charts import (
    NUM_COLOURS,
    colour,
    compared,
    figures,
    interval_chart,
    laned,
    lanes_chart,
    loss_chart,
    traffic_chart,
    verdict_chart,
)
from .events import words_of
from .story import Point, Story, best_and_last, mean_loss, thinned
from .svg import element, plain
from .units import counted, duration, size

_MAX_ROWS: Final = 50
_MAX_CHANGES: Final = 6
_USER_INFO: Final = re.compile(r"://[^/@\s]+@")


def verdict_section(verdict: Verdict, job: JobFile) -> str:
    """The gate's word, with what it rests on."""
    tolerance = float(job.evaluation.gate.tolerance)
    rows = [(name, figures(found), found.num_samples) for name, found in compared(verdict).items()]
    return card(
        "Verdict: passed" if verdict.passed else "Verdict: not passed",
        plain(verdict.reason),
        verdict_chart(verdict),
        interval_chart(verdict, tolerance),
        table=table_of(("adapter", "held-out loss", "samples"), rows),
    )


def loss_section(story: Story) -> str:
    """Training and held-out loss."""
    if not story.trained and not story.held_out:
        return card("Loss", "No loss has been told yet.")
    peers = sorted(story.trained)
    columns = {f"peer {peer}": dict(story.trained[peer]) for peer in peers}
    if len(peers) > NUM_COLOURS:
        columns = {f"mean of {len(peers)} peers": dict(mean_loss(story))}
    columns["held out"] = dict(story.held_out)
    rounds = sorted({at for points in columns.values() for at in points})
    rows = [
        (at, *(_loss(points.get(at)) for points in columns.values()))
        for at in rounds[:: -(-len(rounds) // _MAX_ROWS)]
    ]
    return card(
        "Loss",
        "Training loss of each peer on its own data, and of their consensus on held-out samples."
        f"{_scores(story)}",
        _legend(peers, held_out=bool(story.held_out)),
        loss_chart(story),
        table=table_of(("round", *columns), rows),
    )


def _scores(story: Story) -> str:
    """Both are told: the best round was chosen on the held-out samples, so it flatters."""
    loss = best_and_last(story.held_out, most=False)
    accuracy = best_and_last(story.accuracy, most=True)
    told = []
    if loss:
        told.append(
            f" Held-out loss: {_after(loss[0], '.4f')} at best, {_after(loss[1], '.4f')} at last."
        )
    if accuracy:
        told.append(
            f" Accuracy: {_after(accuracy[0], '.1%')} at best, {_after(accuracy[1], '.1%')} at last."
        )
    return "".join(told)


def _after(point: Point, form: str) -> str:
    return f"{point[1]:{form}} after round {point[0]}"


def traffic_section(story: Story) -> str:
    """Bytes by round."""
    if not story.traffic:
        return card("Traffic", "No round has closed yet.")
    mean = story.traffic_bytes / len(story.traffic)
    rows = [(at, size(value)) for at, value in thinned(story.traffic, _MAX_ROWS)]
    return card(
        "Traffic",
        f"{size(story.traffic_bytes)} in {counted(len(story.traffic), 'round')}, {size(mean)} a round, "
        f"all peers together.{_modelled(story)}{_exchanged(story)}",
        traffic_chart(story),
        table=table_of(("round", "bytes"), rows),
    )


def _modelled(story: Story) -> str:
    """What is beyond the formula are headers, digests, and what is said in the log."""
    if not story.modelled_bytes:
        return ""
    return f" By the method's formula, of the numbers alone: {size(story.modelled_bytes)}."


def _exchanged(story: Story) -> str:
    decided = "".join(f" {sentence}" for sentence in (*story.decided, *_stood_in(story)))
    if not story.num_timed:
        return decided
    each = duration(story.exchange_seconds / story.num_timed)
    return f" An exchange took {each}, {story.hidden:.0%} of it hidden behind compute.{decided}"


def _stood_in(story: Story) -> Iterator[str]:
    """When a peer's own adapter was taken for the mean of all, and why the last time."""
    for events in story.stood_in.values():
        first, last = events[0].round, events[-1].round
        when = (
            f"After round {last}"
            if len(events) == 1
            else f"After {len(events)} rounds from {first} to {last}"
        )
        yield f"{when}, {words_of(events[-1])}."


def peers_section(story: Story) -> str:
    """Membership."""
    if not story.traffic:
        return ""
    rows = [
        (peer, ", ".join(f"{begin}–{end}" if end > begin else f"{begin}" for begin, end in spans))
        for peer, spans in sorted(story.spans.items())
    ]
    changes = sorted([*story.joined, *story.left], key=lambda mark: mark.round)
    told = " ".join(f"{mark.text}." for mark in changes[:_MAX_CHANGES])
    more = len(changes) - _MAX_CHANGES
    told += f" And {more} more changes." if more > 0 else ""
    told = told or "Nobody joined late, nobody left."
    shown = len(laned(story))
    if shown < len(story.spans):
        told += f" Shown are {shown} of {len(story.spans)} peers, those that came or went first."
    return card(
        "Peers over time",
        plain(told),
        lanes_chart(story),
        table=table_of(("peer", "rounds"), rows),
    )


def placement_section(progress: RunProgress) -> str:
    """Where each peer ran, and how it did."""
    heads = (
        "peer",
        "node",
        "state",
        "attempt",
        "micro-batch",
        "steps",
        "samples",
        "s / round",
        "sent",
        "received",
    )
    rows = [_placed(peer) for peer in sorted(progress.peers, key=lambda peer: peer.peer)]
    if not rows:
        return card("Placement", "No peer has reported.", wide=True)
    text = f"Each peer's latest report.{_privacy(progress)}{_refused(progress)}"
    return card("Placement", text, table_of(heads, rows), wide=True)


def _refused(progress: RunProgress) -> str:
    """Most rounds in which some peer found another one's payload unsound: in gossip only neighbours see it."""
    most: dict[int, int] = {}
    for report in progress.peers:
        for peer, count in report.refused.items():
            most[peer] = max(count, most.get(peer, 0))
    told = ", ".join(f"peer {peer} in {counted(most[peer], 'round')}" for peer in sorted(most))
    return f" What it sent was unsound and did not count: {told}." if told else ""


def _privacy(progress: RunProgress) -> str:
    spent = [peer.epsilon for peer in progress.peers if peer.epsilon is not None]
    return f" Privacy spent by a peer: epsilon {max(spent):.2f} at most." if spent else ""


def settings_section(job: JobFile) -> str:
    """The job, field by field."""
    tree = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    rows = (
        element(
            "div", element("dt", plain(name)), element("dd", plain(_USER_INFO.sub("://…@", value)))
        )
        for name, value in _leaves(tree)
    )
    return card("Settings", "", element("dl", *rows, class_="settings"), wide=True)


def _placed(peer: PeerReport) -> tuple[Any, ...]:
    pace = "–" if peer.seconds_per_round is None else f"{peer.seconds_per_round:.2f}"
    bad = f" ({peer.nonfinite_steps} steps not finite)" if peer.nonfinite_steps else ""
    return (
        peer.peer,
        peer.node or "–",
        peer.state.value + bad,
        peer.attempt + 1,
        peer.micro_batch_size,
        f"{peer.steps:,}",
        f"{peer.samples:,}",
        pace,
        size(peer.bytes_sent),
        size(peer.bytes_received),
    )


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if value is None:
            continue
        at = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from _leaves(value, at)
        elif isinstance(value, list):
            yield at, ", ".join(map(str, value))
        else:
            yield at, str(value)


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _legend(peers: Sequence[int], *, held_out: bool) -> str:
    names = [(f"peer {peer}", colour(peer, peers)) for peer in peers]
    if len(peers) > NUM_COLOURS:
        names = [(f"{len(peers)} peers", "many"), ("their mean", "s0")]
    if held_out:
        names.append(("held out", "ink"))
    items = (element("li", element("i"), plain(name), class_=kind) for name, kind in names)
    return element("ul", *items, class_="legend")


def table_of(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(element("th", plain(name), scope="col") for name in heads)
    body = "".join(element("tr", *(element("td", plain(value)) for value in row)) for row in rows)
    return element(
        "div",
        element("table", element("thead", element("tr", head)), element("tbody", body)),
        class_="scroll",
    )


def card(heading: str, text: str, *content: str, table: str = "", wide: bool = False) -> str:
    fold = element("details", element("summary", "Figures"), table) if table else ""
    return element(
        "section",
        element("h2", heading),
        element("p", text) if text else "",
        *content,
        fold,
        class_="wide" if wide else "card",
    )
