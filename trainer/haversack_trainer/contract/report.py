"""What peers tell the hub and the operator reads from it. Never part of the replicated state."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Frozen
from .records import OPERATOR

MAX_COUNT = 2**52
MAX_REMARK = 400
MAX_NAMED = 1024
MODELLED = "modelled_bytes"
"""Name of a round's figure: bytes of all payloads by the method's formula, of the numbers alone."""
REFUSED = "refused_peer_"
"""Before a peer's number: the name of a round's figure that says that what the peer sent did not count."""
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""Exact as a float, and a thousand of them still add up in an int64."""


class PeerState(StrEnum):
    STARTING = "Starting"
    WAITING = "Waiting"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    DONE = "Done"


class PeerReport(Frozen):
    """One peer's latest word on itself; the hub keeps only the newest."""

    peer: int = Field(ge=0, lt=OPERATOR)
    attempt: Count = 0
    node: str = Field(default="", max_length=253)
    state: PeerState = PeerState.STARTING
    round: Count = 0
    loss: float | None = None
    steps: Count = 0
    """Optimizer steps."""
    samples: Count = 0
    nonfinite_steps: Count = 0
    micro_batch_size: int = Field(default=1, ge=1, le=2**31 - 1)
    bytes_sent: Count = 0
    bytes_received: Count = 0
    seconds_per_round: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    refused: dict[Annotated[int, Field(ge=0, lt=OPERATOR)], Count] = Field(
        default_factory=dict, max_length=MAX_NAMED
    )
    """By peer, in how many rounds this process found what it sent to be unsound."""
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Differential privacy that its records have spent, where the method protects them."""
    remark: str = Field(default="", max_length=MAX_REMARK)
    """What its method has decided by itself, or that its own adapter stood in for the mean of all."""
    time: float = Field(default=0.0, ge=0, lt=1e11, allow_inf_nan=False)
    """Unix time of the report, by the peer's clock."""


class Evaluation(Frozen):
    """Held-out figures of one adapter."""

    round: int
    loss: float
    accuracy: float | None = None
    num_samples: int


class PeerScores(Frozen):
    """A peer's own model after the last round, as the peer itself judged it."""

    personal: Evaluation
    """On the part of its own samples that it did not train on."""
    common: Evaluation
    """On the held-out samples that all peers have in common."""


class Verdict(Frozen):
    """The gate's word on the final adapter."""

    passed: bool
    reason: str
    """One sentence with the figures."""
    round: int
    before: Evaluation
    after: Evaluation
    probe: Evaluation | None = None
    """A linear probe on the frozen encoder, where the head is new."""
    previous: Evaluation | None = None
    """The adapter published before, where there is one."""
    interval: tuple[float, float]
    """95 % bootstrap interval of (new - reference) loss, paired by sample; the worst reference's."""
    adapter_digest: str


class Publication(Frozen):
    """Where the adapter is."""

    uri: str
    digest: str
    size_bytes: int
    round: int


class RunProgress(Frozen):
    """``GET /v1/runs/{run}/progress``."""

    run: str
    view: tuple[int, ...] = ()
    round: int = 0
    rounds: int = 0
    num_records: int = 0
    head: str = ""
    """Hash of the whole log so far, hex."""
    peers: tuple[PeerReport, ...] = ()
    evaluation: Evaluation | None = None
    checkpoint_round: int | None = None
    verdict: Verdict | None = None
    scores: dict[int, PeerScores] = Field(default_factory=dict)
    """By peer, where the job asks for them."""
    approved_by: str | None = None
    published: Publication | None = None
    refused: int = 0
    """Records and connections that were turned away."""
