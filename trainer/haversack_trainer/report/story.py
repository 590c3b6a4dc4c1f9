"""What the events of a run say, as series that can be drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from haversack_trainer.contract.report import MODELLED

from .events import (
    Decided,
    Evaluated,
    Event,
    PeerJoined,
    PeerLeft,
    RoundClosed,
    RunStarted,
    StoodIn,
)

Point = tuple[int, float]
"""Round and value."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A peer came or went."""

    peer: int
    round: int
    text: str


@dataclass(slots=True)
class Story:
    """A run in figures. Series are in ascending order of round, each round once."""

    trained: dict[int, list[Point]] = field(default_factory=lambda: defaultdict(list))
    """Training loss by peer."""
    held_out: list[Point] = field(default_factory=list)
    accuracy: list[Point] = field(default_factory=list)
    traffic: list[Point] = field(default_factory=list)
    """Payload bytes of all peers."""
    modelled_bytes: float = 0.0
    """Of the rounds of which a method told it."""
    exchange_seconds: float = 0.0
    """Of all rounds that were timed."""
    waited_seconds: float = 0.0
    """Of that, spent waiting."""
    num_timed: int = 0
    spans: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """First and last round of each stay of a peer."""
    joined: list[Mark] = field(default_factory=list)
    left: list[Mark] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    """What the method chose, in its own words."""
    stood_in: dict[int, list[StoodIn]] = field(default_factory=lambda: defaultdict(list))
    """By peer, in order of rounds."""
    began: float | None = None
    ended: float | None = None

    @property
    def rounds(self) -> tuple[int, int]:
        """First and last round that closed."""
        return (self.traffic[0][0], self.traffic[-1][0]) if self.traffic else (0, 0)

    @property
    def hidden(self) -> float:
        """Share of the exchanges' time in which their writer computed: 0 to 1."""
        if not self.exchange_seconds:
            return 0.0
        return max(0.0, 1.0 - self.waited_seconds / self.exchange_seconds)

    @property
    def traffic_bytes(self) -> float:
        return sum(value for _, value in self.traffic)


def tell(events: Iterable[Event]) -> Story:
    """The story of events in the order in which they were written. A round that was written twice
    (by a peer that came back) counts once, the first time."""
    story, last = Story(), -1
    for event in events:
        story.began = event.time if story.began is None else min(story.began, event.time)
        story.ended = max(story.ended or event.time, event.time)
        match event:
            case RoundClosed() if event.round > last:
                last = event.round
                _add_round(story, event)
            case Evaluated():
                _add_evaluation(story, event)
            case Decided():
                story.decided.append(f"From round {event.round} on, {event.remark}.")
            case StoodIn():
                story.stood_in[event.peer].append(event)
            case PeerJoined():
                where = f" on {event.node}" if event.node else ""
                story.joined.append(
                    Mark(
                        event.peer,
                        event.round,
                        f"Peer {event.peer} joined{where} for round {event.round}",
                    )
                )
            case PeerLeft():
                why = f": {event.reason}" if event.reason else ""
                story.left.append(
                    Mark(
                        event.peer,
                        event.round,
                        f"Peer {event.peer} left in round {event.round}{why}",
                    )
                )
            case RunStarted():
                for peer in event.peers:
                    story.spans.setdefault(peer, [])
    return story


def _add_round(story: Story, event: RoundClosed) -> None:
    story.traffic.append((event.round, float(event.payload_bytes)))
    story.modelled_bytes += event.metrics.get(MODELLED) or 0.0
    if event.exchange_seconds is not None and event.waited_seconds is not None:
        story.exchange_seconds += event.exchange_seconds
        story.waited_seconds += event.waited_seconds
        story.num_timed += 1
    for peer in event.members:
        stays = story.spans[peer]
        if stays and stays[-1][1] == event.round - 1:
            stays[-1] = (stays[-1][0], event.round)
        else:
            stays.append((event.round, event.round))
    for peer, loss in event.losses.items():
        if loss is not None and math.isfinite(loss):
            story.trained[peer].append((event.round, loss))


def _add_evaluation(story: Story, event: Evaluated) -> None:
    found = event.evaluation
    if math.isfinite(found.loss) and (not story.held_out or found.round > story.held_out[-1][0]):
        story.held_out.append((found.round, found.loss))
        if found.accuracy is not None:
            story.accuracy.append((found.round, found.accuracy))


def best_and_last(points: Sequence[Point], *, most: bool) -> tuple[Point, Point] | None:
    """The best point (the earliest of equals), and the last; None where there are none."""
    if not points:
        return None
    best = (max if most else min)(points, key=lambda point: point[1])
    return best, points[-1]


def mean_loss(story: Story) -> list[Point]:
    """Mean training loss of the peers that told theirs, by round."""
    rounds: dict[int, list[float]] = defaultdict(list)
    for points in story.trained.values():
        for at, value in points:
            rounds[at].append(value)
    return [(at, math.fsum(values) / len(values)) for at, values in sorted(rounds.items())]


def thinned(points: Sequence[Point], at_most: int) -> list[Point]:
    """At most so many points: means of neighbours, at their middle round."""
    if len(points) <= at_most:
        return list(points)
    width = -(-len(points) // at_most)
    groups = (points[at : at + width] for at in range(0, len(points), width))
    return [
        (group[len(group) // 2][0], math.fsum(value for _, value in group) / len(group))
        for group in groups
    ]
