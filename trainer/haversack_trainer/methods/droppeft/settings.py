"""Settings of DropPEFT. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from haversack_trainer.contract.base import Check, Decimal
from haversack_trainer.contract.cards import MethodSettings


class Shape(StrEnum):
    UNIFORM = "Uniform"
    INCREMENTAL = "Incremental"
    DECAY = "Decay"
    BELL = "Bell"
    EXPONENTIAL = "Exponential"
    IMPORTANCE = "Importance"


class Sampler(StrEnum):
    SYSTEMATIC = "Systematic"
    BERNOULLI = "Bernoulli"


class Protect(StrEnum):
    NONE = "None"
    FIRST = "First"
    LAST = "Last"
    FIRST_AND_LAST = "FirstAndLast"


class Rescale(StrEnum):
    NONE = "None"
    TRAIN_INVERSE = "TrainInverse"


class Weighting(StrEnum):
    STEPS = "Steps"
    SAMPLES = "Samples"


class Head(StrEnum):
    SHARED = "Shared"
    PERSONAL = "Personal"


class Settings(MethodSettings):
    """DropPEFT: whole layers are dropped at random in training, and peers' adapters averaged by layer (arXiv 2503.10217)."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(
            "double(self.learningRate) > 0.0",
            lambda settings: float(settings.learning_rate) > 0,
            "learningRate: DropPEFT learns nothing at 0; write more than 0",
        ),
        Check(
            "double(self.maxDropRate) < 1.0",
            lambda settings: float(settings.max_drop_rate) < 1,
            "maxDropRate: a layer that is always dropped never learns; write less than 1",
        ),
        Check(
            "double(self.dropRate) <= double(self.maxDropRate)",
            lambda settings: float(settings.drop_rate) <= float(settings.max_drop_rate),
            "dropRate: is above maxDropRate; lower it",
        ),
    )

    local_steps: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Optimizer steps of a peer between two exchanges.",
    )
    learning_rate: Decimal = Field(default="0.0005", description="AdamW's learning rate.")
    weight_decay: Decimal = Field(default="0", description="AdamW's weight decay.")
    max_grad_norm: Decimal = Field(
        default="1", description="Gradients are clipped to this norm; 0 turns it off."
    )
    drop_rate: Decimal = Field(
        default="0.5", description="Mean share of the layers that a micro-batch leaves out."
    )
    shape: Shape = Field(
        default=Shape.INCREMENTAL,
        description="How the rate goes with depth; Importance drops layers with small gradients more.",
    )
    max_drop_rate: Decimal = Field(default="0.95", description="Most that one layer is left out.")
    protect: Protect = Field(
        default=Protect.FIRST_AND_LAST,
        description="Layers that always run, beside those that the model cannot do without.",
    )
    protected_layers: list[Annotated[int, Field(ge=0, le=9_999)]] | None = Field(
        default=None,
        max_length=256,
        description="More layers that always run, counted from 0.",
    )
    sampler: Sampler = Field(
        default=Sampler.SYSTEMATIC,
        description="Systematic drops nearly the same number of layers every time, which memory can be "
        "sized for; Bernoulli drops each layer by itself, as in the paper.",
    )
    rescale: Rescale = Field(
        default=Rescale.NONE,
        description="TrainInverse divides what a layer adds by the rate at which it runs.",
    )
    cohort_size: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Peers that train in a round, drawn anew each time; the others take its result. Default all.",
    )
    weighting: Weighting = Field(
        default=Weighting.STEPS,
        description="A peer's weight in a layer's average: Samples, or Steps, its samples times the share of "
        "its steps in which the layer ran.",
    )
    head: Head = Field(
        default=Head.SHARED,
        description="Personal: a classifier's head stays with its peer and does not travel.",
    )
