"""``FineTunePlan``: one revision of a job's placement, a row per peer. Written by the operator only."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from haversack_trainer.contract.base import Frozen, Name
from haversack_trainer.contract.report import PeerState

from .job import MAX_PEERS
from .status import Count, Figure, Sentence, Size, Time

Ordinal = Annotated[int, Field(ge=0, le=65_534)]
NodeName = Annotated[str, Field(min_length=1, max_length=253)]


class PlannedPeer(Frozen):
    """Where a peer runs and how it is configured to fit there."""

    peer: Ordinal = Field(description="The peer's number in the job.")
    pool: Name = Field(description="The pool it belongs to.")
    node: NodeName = Field(description="The node it is placed on.")
    micro_batch_size: int = Field(
        ge=1, le=65_536, description="Samples in one forward pass that fit the node's memory."
    )


class PlanSpec(Frozen):
    """A placement. It never changes; a new one gets the next revision."""

    revision: Count = Field(description="Number of the plan in its job.")
    gap_percent: Figure = Field(
        description="Proven distance to the best possible plan, in percent; 0 is optimal."
    )
    peers: list[PlannedPeer] = Field(max_length=MAX_PEERS, description="One row per peer.")
    reasons: list[Sentence] = Field(
        default_factory=list, max_length=32, description="Why peers are where they are, in words."
    )
    avoided_nodes: list[NodeName] = Field(
        default_factory=list,
        max_length=1024,
        description="Nodes that a peer of the job found unfit (exit code 42).",
    )


class PeerRow(Frozen):
    """A peer's latest word on itself."""

    peer: Ordinal = Field(description="The peer's number in the job.")
    state: PeerState = Field(description="What it is doing.")
    round: Count = Field(default=0, description="The round it is in.")
    loss: Figure | None = Field(default=None, description="Its training loss.")
    bytes_sent: Size = Field(default=0, description="Bytes it has sent.")
    last_report_time: Time | None = Field(default=None, description="When it said so.")


class PlanStatus(Frozen):
    """The peers, one by one."""

    peers: list[PeerRow] = Field(
        default_factory=list, max_length=MAX_PEERS, description="One row per reporting peer."
    )

    def dump(self) -> dict[str, Any]:
        """The status as it is written."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
