"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from haversack_trainer.contract.report import Evaluation, Verdict

from .story import Mark, Point, Story, mean_loss, thinned
from .svg import Frame, Scale, element, label, plain, polyline
from .units import counted, size

MAX_POINTS: Final = 300
NUM_COLOURS: Final = 8
"""Series that can be told apart by colour; with more peers all are drawn alike, with their mean."""
MAX_LANES: Final = 24
_MAX_DOTS: Final = 40
_MANY_LANES: Final = 16


def colour(peer: int, peers: Sequence[int]) -> str:
    """Class of a peer's colour."""
    return f"s{peers.index(peer) % NUM_COLOURS}" if len(peers) <= NUM_COLOURS else "many"


def loss_chart(story: Story) -> str:
    """Training loss of each peer and the held-out loss of their consensus."""
    trained = {peer: thinned(points, MAX_POINTS) for peer, points in sorted(story.trained.items())}
    held_out = thinned(story.held_out, MAX_POINTS)
    every = [point for points in (*trained.values(), held_out) for point in points]
    frame = Frame()
    low, high = _padded([value for _, value in every])
    up = frame.up(low, high)
    across = frame.across(min(at for at, _ in every), max(at for at, _ in every))
    lines = [
        polyline(_placed(points, across, up), f"line {colour(peer, list(trained))}")
        for peer, points in trained.items()
    ]
    if len(trained) > NUM_COLOURS:
        lines.append(
            polyline(_placed(thinned(mean_loss(story), MAX_POINTS), across, up), "line s0")
        )
    lines.append(polyline(_placed(held_out, across, up), "line held-out"))
    if len(held_out) <= _MAX_DOTS:
        lines += [
            element("circle", _tip(f"Held-out loss after round {at}: {value:.4f}"),
                    cx=across(at), cy=up(value), r=4.0, class_="dot held-out")
            for at, value in held_out
        ]  # fmt: skip
    return frame.drawing(
        "Loss per round",
        f"Training loss of {counted(len(trained), 'peer')} and held-out loss, from {high:.3g} to {low:.3g}.",
        frame.grid(up, lambda tick: f"{tick:g}"),
        frame.rounds(across),
        *lines,
    )


def traffic_chart(story: Story) -> str:
    """Bytes of all payloads, by round."""
    points = thinned(story.traffic, 120)
    frame = Frame()
    up = frame.up(0, max(1.06 * max(value for _, value in points), 4.0))
    first, last = story.rounds
    across = frame.across(first - 0.5, last + 0.5)
    width = (across.end - across.start) / len(points)
    gap = min(2.0, width * 0.25)
    bars = [
        element("rect", _tip(f"Round {at}: {size(value)}"), x=across(at) - width / 2 + gap / 2,
                y=up(value), width=max(width - gap, 0.8), height=up(0) - up(value),
                rx=min(2.0, width / 4), class_="bar")
        for at, value in points
    ]  # fmt: skip
    return frame.drawing(
        "Bytes per round",
        f"{size(story.traffic_bytes)} in {counted(len(story.traffic), 'round')}, all peers together.",
        frame.grid(up, size),
        frame.rounds(across),
        *bars,
    )


def lanes_chart(story: Story) -> str:
    """Who was a member when: one lane for each peer."""
    peers = laned(story)
    lane = 26.0 if len(peers) <= _MANY_LANES else 14.0
    frame = Frame(height=lane * len(peers) + 44, left=64.0)
    first, last = story.rounds
    across = frame.across(first - 0.5, last + 0.5)
    middle = {peer: frame.top + lane * (index + 0.5) for index, peer in enumerate(peers)}
    rows = [
        element("line", x1=across.start, x2=across.end, y1=middle[peer], y2=middle[peer], class_="grid")
        + label(frame.left - 10, middle[peer] + 4, f"peer {peer}", class_="tick", text_anchor="end")
        + "".join(
            element("rect", _tip(f"Peer {peer}: rounds {begin} to {end}"), x=across(begin - 0.5),
                    y=middle[peer] - lane * 0.28, width=across(end + 0.5) - across(begin - 0.5),
                    height=lane * 0.56, rx=3.0, class_=f"span {colour(peer, peers)}")
            for begin, end in story.spans[peer]
        )
        for peer in peers
    ]  # fmt: skip
    came = [_mark(mark, across(mark.round - 0.5), middle, "came") for mark in story.joined]
    went = [_mark(mark, across(mark.round - 0.5), middle, "went") for mark in story.left]
    return frame.drawing(
        "Peers over time",
        f"{counted(len(story.spans), 'peer')}, {counted(len(story.joined), 'join')} and "
        f"{len(story.left)} who left "
        f"in rounds {first} to {last}.",
        *rows,
        frame.rounds(across),
        *came,
        *went,
    )


def laned(story: Story) -> list[int]:
    """The peers that get a lane: all, or as many as fit, those that came or went first."""
    changed = {mark.peer for mark in (*story.joined, *story.left)}
    by_interest = sorted(story.spans, key=lambda peer: (peer not in changed, peer))
    return sorted(by_interest[:MAX_LANES])


def verdict_chart(verdict: Verdict) -> str:
    """Held-out losses of the adapter and of what it is compared with."""
    rows = compared(verdict)
    frame = Frame(height=34.0 * len(rows) + 40, left=118.0, right=110.0)
    low, high = _padded([found.loss for found in rows.values()])
    across = frame.across(low, high)
    drawn = []
    for index, (name, found) in enumerate(rows.items()):
        y = frame.top + 34.0 * (index + 0.5)
        mine = " mine" if found is verdict.after else ""
        drawn += [
            element("line", x1=across.start, x2=across.end, y1=y, y2=y, class_="grid"),
            label(frame.left - 12, y + 4, name, class_=f"name{mine}", text_anchor="end"),
            element("circle", _tip(f"{name}: {found.loss:.4f}"), cx=across(found.loss), cy=y, r=6.5,
                    class_=f"dot{mine}"),
            label(frame.width - frame.right + 12, y + 4, figures(found), class_=f"name{mine}"),
        ]  # fmt: skip
    base = frame.height - frame.bottom
    return frame.drawing(
        "Held-out loss compared",
        "; ".join(f"{name} {figures(found)}" for name, found in rows.items()),
        *drawn,
        label(across.start, base + 20, f"{low:.3g}", class_="tick"),
        label(across.end, base + 20, f"{high:.3g}", class_="tick", text_anchor="end"),
        label((across.start + across.end) / 2, base + 20, "held-out loss, left is better",
              class_="tick", text_anchor="middle"),
    )  # fmt: skip


def interval_chart(verdict: Verdict, tolerance: float) -> str:
    """The interval of the difference, beside what is allowed."""
    low, high = verdict.interval
    frame = Frame(height=96.0, left=16.0, right=16.0)
    across = frame.across(*_padded([low, high, 0.0, tolerance]))
    y = 50.0
    good = "good" if verdict.passed else "bad"
    return frame.drawing(
        "Difference to the reference",
        f"95 % interval of new minus reference loss: {low:.4f} to {high:.4f}; allowed up to {tolerance:g}.",
        element("line", x1=across.start, x2=across.end, y1=y, y2=y, class_="grid"),
        label(0, 14, "New minus reference loss, 95 % interval", class_="tick"),
        element("rect", _tip(f"{low:.4f} to {high:.4f}"), x=across(low), y=y - 7,
                width=max(across(high) - across(low), 2.0), height=14.0, rx=4.0, class_=f"interval {good}"),
        element("line", x1=across(tolerance), x2=across(tolerance), y1=y - 18, y2=y + 18, class_="limit"),
        label(across(tolerance), y + 36, f"limit {tolerance:g}", class_="tick", text_anchor="middle"),
        label(across((low + high) / 2), y - 14, f"{low:+.4f} to {high:+.4f}", class_="name",
              text_anchor="middle"),
    )  # fmt: skip


def compared(verdict: Verdict) -> Mapping[str, Evaluation]:
    """What the gate looked at, by name."""
    rows = {
        "base model": verdict.before,
        "linear probe": verdict.probe,
        "previous adapter": verdict.previous,
        "new adapter": verdict.after,
    }
    return {name: found for name, found in rows.items() if found is not None}


def figures(found: Evaluation) -> str:
    """Loss and, where there is one, accuracy."""
    return f"{found.loss:.3f}" + (f" · {found.accuracy:.1%}" if found.accuracy is not None else "")


def _mark(mark: Mark, x: float, middle: Mapping[int, float], kind: str) -> str:
    if mark.peer not in middle:
        return ""
    y = middle[mark.peer]
    shape = (
        f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
        if kind == "went"
        else (f"M{x - 9:.1f} {y - 6:.1f}l8 6l-8 6z")
    )
    return element("path", _tip(mark.text), d=shape, class_=f"mark {kind}")


def _tip(text: str) -> str:
    """What a pointer that rests there is told."""
    return element("title", plain(text))


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.08 or 1.0
    return low - pad, high + pad


def _placed(points: Sequence[Point], across: Scale, up: Scale) -> list[tuple[float, float]]:
    return [(across(at), up(value)) for at, value in points]
