"""What happened in a run, one JSON object a line. Documented in docs/events.md, which is made from here.

A peer appends while it runs; after a crash the last line may be torn, and is passed over when reading.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.contract.report import Evaluation, PeerScores, Publication, Verdict


class ReportError(Exception):
    """The events or the report cannot be written or read; says which file and what to change."""


class Happening(Frozen):
    """What every event has. The docstrings of its kinds are their lines in docs/events.md."""

    time: float = Field(default_factory=time.time, description="Unix time by the writer's clock.")


class RunStarted(Happening):
    """The run's first round is open, or this writer has joined a run that goes on."""

    kind: Literal["RunStarted"] = "RunStarted"
    run: str = Field(description="Name of the run.")
    round: int = Field(description="Round that is open.")
    peers: tuple[int, ...] = Field(description="Members at the start.")


class PeerJoined(Happening):
    """A peer entered the view."""

    kind: Literal["PeerJoined"] = "PeerJoined"
    peer: int = Field(description="Ordinal of the peer.")
    round: int = Field(description="First round that it is a member of.")
    node: str = Field(default="", description="Its node.")


class PeerLeft(Happening):
    """A peer left the view, by itself or because its lease expired."""

    kind: Literal["PeerLeft"] = "PeerLeft"
    peer: int = Field(description="Ordinal of the peer.")
    round: int = Field(description="Round that was open when it left.")
    reason: str = Field(default="", description="Its own word, or the hub's.")


class RoundClosed(Happening):
    """A round has its final word: every member of the view has published."""

    kind: Literal["RoundClosed"] = "RoundClosed"
    round: int = Field(description="The round.")
    members: tuple[int, ...] = Field(description="Peers whose payloads count.")
    losses: dict[int, float | None] = Field(
        default_factory=dict,
        description="Training loss by peer, as far as known; null where it was not finite.",
    )
    payload_bytes: int = Field(description="Bytes of all payloads of the round, blobs included.")
    seconds: float | None = Field(default=None, description="Time from opening to closing.")
    exchange_seconds: float | None = Field(
        default=None,
        description="Time from the writer's publishing to the last bytes that it needed of others.",
    )
    waited_seconds: float | None = Field(
        default=None, description="How much of that the writer waited instead of computing."
    )
    metrics: dict[str, float | None] = Field(
        default_factory=dict, description="The method's own figures, e.g. consensus distance."
    )


class Evaluated(Happening):
    """The consensus adapter was judged on the held-out samples."""

    kind: Literal["Evaluated"] = "Evaluated"
    evaluation: Evaluation = Field(description="Loss and, for classification, accuracy.")


class Decided(Happening):
    """Something was chosen without a person: the method (method.type Auto, in round 0), or by the method from what its peers measured."""

    kind: Literal["Decided"] = "Decided"
    round: int = Field(description="First round that it holds for.")
    remark: str = Field(description="What, and why.")


class StoodIn(Happening):
    """A peer's own adapter was judged, saved or published, since no mean of all could be made."""

    kind: Literal["StoodIn"] = "StoodIn"
    round: int = Field(description="Round whose outcome it stood for.")
    peer: int = Field(description="Whose adapter.")
    reason: str = Field(description="Why there was no mean.")


def words_of(event: StoodIn) -> str:
    """A part of a sentence."""
    return f"peer {event.peer}'s own adapter stood in for the mean of all: {event.reason}"


class CheckpointSaved(Happening):
    """A whole checkpoint is in the store."""

    kind: Literal["CheckpointSaved"] = "CheckpointSaved"
    checkpoint: CheckpointRef = Field(description="Its round, key and digest.")


class CheckpointFailed(Happening):
    """A checkpoint could not be written; training goes on."""

    kind: Literal["CheckpointFailed"] = "CheckpointFailed"
    round: int = Field(description="Rounds done.")
    reason: str = Field(description="What the store said, and what to change.")


class Scored(Happening):
    """A peer has judged its own model after the last round."""

    kind: Literal["Scored"] = "Scored"
    peer: int = Field(description="Ordinal of the peer.")
    scores: PeerScores = Field(
        description="Figures on its own held-out samples and on the common ones."
    )


class VerdictGiven(Happening):
    """The gate has judged the final adapter."""

    kind: Literal["VerdictGiven"] = "VerdictGiven"
    verdict: Verdict = Field(description="Passed or not, with all figures.")


class Approved(Happening):
    """A person let the adapter through."""

    kind: Literal["Approved"] = "Approved"
    by: str = Field(description="Who.")


class Published(Happening):
    """The adapter is in the store. Ends the run, as does a failed verdict."""

    kind: Literal["Published"] = "Published"
    publication: Publication = Field(description="Where it is, its digest and size.")


Event = Annotated[
    RunStarted
    | PeerJoined
    | PeerLeft
    | RoundClosed
    | Decided
    | StoodIn
    | Evaluated
    | CheckpointSaved
    | CheckpointFailed
    | Scored
    | VerdictGiven
    | Approved
    | Published,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class EventLog:
    """Appends to one file. Each event is one write, so that readers see whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._end_torn_line()

    def append(self, event: Event) -> None:
        """Raises ``ReportError``, e.g. for a full disk."""
        line = event.model_dump_json(by_alias=True).encode() + b"\n"
        with _translated(self._path):
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "no room left")

    def close(self) -> None:
        """Further appends are errors."""
        self._file.close()

    def _end_torn_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        if end and os.pread(self._file.fileno(), 1, end - 1) != b"\n":
            self._file.write(b"\n")


def read_events(path: Path) -> list[Event]:
    """The events in ``path``, in order; lines that are torn or of another version are passed over.

    Raises ``ReportError`` if the file cannot be read.
    """
    with _translated(path):
        lines = path.read_bytes().splitlines()
    return list(parse_events(lines))


def parse_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """See ``read_events``."""
    for line in lines:
        with suppress(ValidationError):
            yield EVENT.validate_json(line)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"{path} cannot be used for events: {error.strerror or error}") from error
