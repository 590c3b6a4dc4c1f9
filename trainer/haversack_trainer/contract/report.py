"""What peers tell the hub and the operator reads from it. Never part of the replicated state."""

from __future__ import annotations

from enum import StrEnum

from .base import Frozen


class PeerState(StrEnum):
    STARTING = "Starting"
    WAITING = "Waiting"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    DONE = "Done"


class PeerReport(Frozen):
    """One peer's latest word on itself; the hub keeps only the newest."""

    peer: int
    attempt: int = 0
    node: str = ""
    state: PeerState = PeerState.STARTING
    round: int = 0
    loss: float | None = None
    samples: int = 0
    nonfinite_steps: int = 0
    micro_batch_size: int = 1
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds_per_round: float | None = None
    time: float = 0.0
    """Unix time of the report, by the peer's clock."""


class Evaluation(Frozen):
    """Held-out figures of one adapter."""

    round: int
    loss: float
    accuracy: float | None = None
    num_samples: int


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
    approved_by: str | None = None
    published: Publication | None = None
    refused: int = 0
    """Records and connections that were turned away."""
