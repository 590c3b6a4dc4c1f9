"""Settings of Dec-LoRA. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import Check, Decimal
from haversack_trainer.contract.cards import MethodSettings

EDGE_PERCENT: Final = 50


class Graph(StrEnum):
    RING = "Ring"
    EXPONENTIAL = "Exponential"
    ERDOS_RENYI = "ErdosRenyi"
    COMPLETE = "Complete"


class Settings(MethodSettings):
    """Dec-LoRA: K local AdamW steps, then A and B are averaged with the neighbours' (arXiv 2501.15361, Alg. 1)."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(
            "double(self.learningRate) > 0.0",
            lambda settings: float(settings.learning_rate) > 0,
            "learningRate: DecLoRA learns nothing at 0; write more than 0",
        ),
        Check(
            "!has(self.edgePercent) || self.graph == 'ErdosRenyi'",
            lambda settings: settings.edge_percent is None or settings.graph is Graph.ERDOS_RENYI,
            "edgePercent: goes with graph ErdosRenyi; remove it or change the graph",
        ),
    )

    local_steps: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Optimizer steps of a peer between two exchanges (K).",
    )
    learning_rate: Decimal = Field(default="0.001", description="AdamW's learning rate.")
    weight_decay: Decimal = Field(default="0", description="AdamW's weight decay.")
    max_grad_norm: Decimal = Field(
        default="1", description="Gradients are clipped to this norm; 0 turns it off."
    )
    graph: Graph = Field(
        default=Graph.RING,
        description="Who mixes with whom. Weights are Metropolis-Hastings on it.",
    )
    edge_percent: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description=f"ErdosRenyi only: probability of an edge, in percent. Default {EDGE_PERCENT}.",
    )
