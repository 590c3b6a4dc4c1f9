"""The job file: what the operator's ``resources`` writes and the trainer's ``config`` reads."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .adapter import AdapterSpec
from .base import Frozen
from .network import NetworkSpec
from .report import MAX_REMARK
from .spec import (
    CheckpointSpec,
    DatasetSpec,
    EvaluationSpec,
    ModelSpec,
    StorageSpec,
)
from .training import TrainingSpec


class MethodChoice(Frozen):
    """A method and its settings, as the card's ``Settings`` class would dump them."""

    type: str = Field(max_length=32)
    settings: dict[str, Any] = Field(default_factory=dict)
    reason: str = Field(default="", max_length=MAX_REMARK)
    """Why this one, where the job left it open."""


class JobFile(Frozen):
    """Everything that all peers of a run share. Written once per run, as JSON with camelCase keys."""

    run: str = Field(
        max_length=128, description="Name of the run: <namespace>.<job>.<first 8 of uid>."
    )
    job: str = Field(max_length=63, description="Name of the job; the store's folder.")
    model: ModelSpec
    dataset: DatasetSpec
    adapter: AdapterSpec = AdapterSpec()
    method: MethodChoice
    training: TrainingSpec = TrainingSpec()
    network: NetworkSpec = NetworkSpec()
    storage: StorageSpec
    checkpoint: CheckpointSpec = CheckpointSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    num_peers: int = Field(
        ge=1, le=1024, description="Parts the data is split into: sum of replicas."
    )
    min_peers: int = Field(ge=1, le=1024, description="The run starts with at least this many.")
    gang_timeout_seconds: int = Field(
        default=120, ge=1, description="How long the first round waits for peers beyond min_peers."
    )
    heartbeat_timeout_seconds: int = Field(
        default=60, ge=2, description="Lease of a peer at the hub."
    )
    report_period_seconds: int = Field(default=15, ge=1, description="Time between two reports.")
