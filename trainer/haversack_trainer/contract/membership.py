"""Bodies of the records that move a run: who joins, where it starts, what is saved."""

from __future__ import annotations

from pydantic import Field

from .base import Frozen


class Identity(Frozen):
    """What all peers of a run must have in common; a peer that differs is refused at join.

    Every value is a short string so that a refusal can name the field and both values.
    """

    base_model: str
    """sha256 of the base model's frozen weights."""
    adapter: str
    """Adapter kind, rank, alpha and target modules, in canonical order."""
    trainables: str
    """sha256 over names, shapes and initial bytes of the trainable tensors."""
    method: str
    """Method type and settings, canonical JSON."""
    seed: str
    data: str
    """sha256 of the training data and of the split's description."""


class Join(Frozen):
    """Body of a JOIN record."""

    identity: Identity
    attempt: int = 0
    incarnation: str
    """Random, new for each process: a second JOIN of a peer replaces its first process."""
    node: str = ""
    address: str = Field(default="", max_length=128)
    """``host:port`` where other members meet it; empty where bulk goes over the hub only."""


class CheckpointRef(Frozen):
    """A whole checkpoint in the job's store."""

    round: int
    """Rounds done."""
    key: str
    """Key of its manifest, relative to the job's folder."""
    digest: str


class Start(Frozen):
    """Body of a START record."""

    round: int = 0
    """First round of this log: 0, or where ``checkpoint`` left off."""
    checkpoint: CheckpointRef | None = None


class Ending(Frozen):
    """Body of an ENDING record."""

    reason: str = Field(max_length=400)
    publishes: bool = True
    """Whether what the run has come to is to be judged and published."""
