"""``status`` of a ``FineTuneJob``: what the operator writes, and nothing that it does not.

Decimals are strings, bytes and seconds are integers. Written with ``dump``, read by people,
printer columns and GitOps tools.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from haversack_trainer.contract.base import Frozen, Name

from .job import MAX_PEERS

MAX_REASON: Final = 400
"""Of why a method was chosen: as long as a remark of the run's."""
UNOBSERVED: Final = -1
"""``observedGeneration`` of a job that the operator has not seen yet (the CRD's default)."""

Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC."""
Figure = Annotated[str, Field(max_length=32)]
"""A measured decimal."""
Sentence = Annotated[str, Field(max_length=4096)]
Address = Annotated[str, Field(max_length=2048)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
Generation = Annotated[int, Field(ge=UNOBSERVED, json_schema_extra={"format": "int64"})]


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionEntry(Frozen):
    """One condition, as in meta/v1."""

    type: str = Field(min_length=1, max_length=63, description="What it is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Generation = Field(
        description="Generation of the spec that this was judged on."
    )
    last_transition_time: Time = Field(description="When status last changed.")
    reason: str = Field(
        max_length=128,
        pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$",
        description="Why, in one CamelCase word.",
    )
    message: Sentence = Field(description="Why, in a sentence.")


class PoolStatus(Frozen):
    """Peers of one pool."""

    name: Name = Field(description="The pool.")
    desired: Count = Field(description="Peers wanted.")
    ready: Count = Field(description="Peers whose pod is ready.")
    failed: Count = Field(default=0, description="Peers whose pod has failed.")
    restarts: Count = Field(default=0, description="Restarts in place, over all its peers.")


class MethodStatus(Frozen):
    """What method.type Auto has come to. It stands for the job's life."""

    type: str = Field(max_length=32, description="The method.")
    settings: Sentence = Field(description="Its settings that are no defaults, as JSON.")
    rounds: Count = Field(description="Rounds of the run, as its method counts them.")
    reason: str = Field(max_length=MAX_REASON, description="Why, with the figures that decided.")


class PlacementStatus(Frozen):
    """The plan in force."""

    plan_name: str = Field(max_length=63, description="The FineTunePlan with a row per peer.")
    revision: Count = Field(description="Number of the plan; rises with every new one.")
    gap_percent: Figure = Field(
        description="Proven distance to the best possible plan, in percent; 0 is optimal."
    )
    reasons: list[Sentence] = Field(
        default_factory=list, max_length=32, description="Why peers are where they are, in words."
    )


class ProgressStatus(Frozen):
    """How far the run is."""

    round: Count = Field(description="Rounds closed.")
    rounds: Count = Field(description="Rounds of the whole run.")
    percent: int = Field(ge=0, le=100, description="Share of the rounds closed.")
    estimated_remaining_seconds: Count | None = Field(
        default=None, description="From the time the last rounds took."
    )
    last_report_time: Time | None = Field(default=None, description="Newest report of any peer.")
    loss: Figure | None = Field(
        default=None, description="Mean training loss of the peers' newest reports."
    )
    remark: str | None = Field(
        default=None,
        max_length=400,
        description="What the method has decided by itself, and why, e.g. FlexDeMo's scheme Auto.",
    )
    epsilon: Figure | None = Field(
        default=None,
        description="Differential privacy that has been spent, by the peer that has spent most.",
    )
    seen_time: Time | None = Field(
        default=None, description="When the operator saw this, by its own clock."
    )


class TrafficStatus(Frozen):
    """Bytes between the peers, from their own count."""

    bytes_sent: Size = Field(description="Sent by all peers.")
    bytes_received: Size = Field(description="Received by all peers.")


class EvaluationStatus(Frozen):
    """Newest figures on the held-out set."""

    loss: Figure = Field(description="Mean loss.")
    accuracy: Figure | None = Field(default=None, description="Classification only.")
    round: Count = Field(description="Round of the adapter that was evaluated.")


class ScoresStatus(Frozen):
    """The peers' own models after the last round, where dataset.heldOut.personalPercent asks for it. The consensus is
    in the verdict."""

    personal_loss: Figure = Field(
        description="Personalised: each peer's model on its own samples, mean over peers."
    )
    personal_accuracy: Figure | None = Field(default=None, description="Classification only.")
    worst_personal_loss: Figure = Field(description="Of the peer with the highest.")
    worst_personal_accuracy: Figure | None = Field(default=None, description="Of the same peer.")
    worst_peer: Count = Field(description="Ordinal of that peer.")
    mean_loss: Figure = Field(
        description="Each peer's model on the common held-out samples, mean over peers."
    )
    mean_accuracy: Figure | None = Field(default=None, description="Classification only.")
    peers: Count = Field(description="Peers that have scored theirs.")


class AdapterStatus(Frozen):
    """The published adapter."""

    uri: Address = Field(description="Folder in PEFT layout.")
    digest: str = Field(max_length=128, description="Digest of the adapter's content.")
    size_bytes: Size = Field(description="Size of all its files.")


class VerdictStatus(Frozen):
    """The gate's word."""

    passed: bool = Field(description="Whether the adapter may be published.")
    reason: Sentence = Field(description="One sentence with the figures.")
    loss_before: Figure = Field(description="Held-out loss of the base model.")
    loss_after: Figure = Field(description="Held-out loss of the adapter.")
    accuracy_before: Figure | None = Field(default=None, description="Classification only.")
    accuracy_after: Figure | None = Field(default=None, description="Classification only.")
    probe_accuracy: Figure | None = Field(
        default=None, description="Of a linear probe on the frozen encoder, where the head is new."
    )


class JobStatus(Frozen):
    """Observed state."""

    observed_generation: Generation = Field(
        default=UNOBSERVED, description="Newest generation of the spec that the operator has seen."
    )
    start_time: Time | None = Field(default=None, description="When the first peer was started.")
    completion_time: Time | None = Field(
        default=None, description="When the job was complete or had failed."
    )
    conditions: list[ConditionEntry] = Field(
        default_factory=list,
        max_length=16,
        description="Accepted, Placed, HubReady, PeersReady, GatePassed, Suspended, "
        "CheckpointFresh, Ready, Complete and Failed; Reconciling and Stalled only while they are "
        "true.",
    )
    peers_summary: str | None = Field(
        default=None, max_length=16, description="Ready and wanted peers, like 3/4."
    )
    pools: list[PoolStatus] = Field(
        default_factory=list, max_length=16, description="Peers by pool."
    )
    method: MethodStatus | None = Field(
        default=None, description="Of a job with method.type Auto: what it has come to."
    )
    placement: PlacementStatus | None = Field(default=None, description="The plan in force.")
    progress: ProgressStatus | None = Field(default=None, description="How far the run is.")
    traffic: TrafficStatus | None = Field(default=None, description="Bytes between the peers.")
    evaluation: EvaluationStatus | None = Field(
        default=None, description="Newest figures on the held-out set."
    )
    adapter: AdapterStatus | None = Field(default=None, description="The published adapter.")
    verdict: VerdictStatus | None = Field(default=None, description="The gate's word.")
    scores: ScoresStatus | None = Field(
        default=None, description="The peers' own models, beside the verdict's consensus."
    )
    active_seconds: Count = Field(
        default=0,
        description="Time the job ran until it was last suspended or finished; suspension not counted.",
    )
    replacements: Count = Field(default=0, description="Peers replaced by fresh pods so far.")
    attempts: list[Count] = Field(
        default_factory=list,
        max_length=MAX_PEERS,
        description="How many pods each peer has had, by its number in the job.",
    )
    hub_attempts: Count = Field(default=0, description="How many pods the hub has had.")

    def dump(self) -> dict[str, Any]:
        """The status as it is written: camelCase, absent where there is nothing to say."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
