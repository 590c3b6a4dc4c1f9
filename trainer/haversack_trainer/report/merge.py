"""One story of what several writers told of a run: the leader of the beginning may be long gone at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .events import (
    CheckpointFailed,
    CheckpointSaved,
    Decided,
    Evaluated,
    Event,
    PeerJoined,
    PeerLeft,
    RoundClosed,
    RunStarted,
    Scored,
    StoodIn,
)

_ORDER: Final = ("RunStarted", "PeerLeft", "PeerJoined", "RoundClosed")
"""Of what bears the same time; everything else comes behind."""

_MEASURED: Final = ("seconds", "exchange_seconds", "waited_seconds")
"""By who took part in a round."""


def merged(stories: Iterable[Iterable[Event]]) -> list[Event]:
    """Every happening once, in order of time: as the first told it, with what others knew beyond."""
    known: dict[object, Event] = {}
    for story in stories:
        for event in story:
            key = _key(event)
            known[key] = _both(known[key], event) if key in known else event
    return sorted(_in_step(known.values()), key=lambda event: (event.time, _rank(event)))


def _key(event: Event) -> object:
    """Equal for events that tell of the same happening."""
    match event:
        case RunStarted() | RoundClosed() | CheckpointFailed() | Decided():
            remark = event.remark if isinstance(event, Decided) else ""
            return event.kind, event.round, remark
        case PeerJoined() | PeerLeft() | StoodIn():
            return event.kind, event.peer, event.round
        case Evaluated():
            return event.kind, event.evaluation.round
        case Scored():
            return event.kind, event.peer
        case CheckpointSaved():
            return event.kind, event.checkpoint.key
        case _:
            return event.kind


def _both(one: Event, other: Event) -> Event:
    first, second = sorted((one, other), key=lambda event: event.time)
    if not isinstance(first, RoundClosed) or not isinstance(second, RoundClosed):
        return first
    # A newcomer tells of rounds before its time without losses, blobs or durations.
    return first.model_copy(
        update={
            "losses": {**second.losses, **first.losses},
            "payload_bytes": max(first.payload_bytes, second.payload_bytes),
            **{name: _known(getattr(first, name), getattr(second, name)) for name in _MEASURED},
            "metrics": first.metrics or second.metrics,
        }
    )


def _known(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _in_step(events: Iterable[Event]) -> Iterable[Event]:
    """No round closed later than the next one, whenever it was told."""
    events = list(events)
    rounds = sorted((e for e in events if isinstance(e, RoundClosed)), key=lambda e: -e.round)
    latest = float("inf")
    for closed in rounds:
        latest = min(latest, closed.time)
        yield closed.model_copy(update={"time": latest})
    yield from (event for event in events if not isinstance(event, RoundClosed))


def _rank(event: Event) -> tuple[int, int]:
    kind = _ORDER.index(event.kind) if event.kind in _ORDER else len(_ORDER)
    return kind, event.round if isinstance(event, RoundClosed) else 0
