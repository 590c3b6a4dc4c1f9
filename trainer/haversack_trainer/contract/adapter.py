"""What is trained of a model or on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Decimal, Frozen


class LoraSpec(Frozen):
    """LoRA's hyper-parameters (Hu et al., arXiv 2106.09685)."""

    rank: int = Field(default=8, ge=1, le=512, description="Rank r of the update B·A.")
    alpha: int = Field(
        default=16, ge=1, le=4096, description="Scale: the update is (alpha/rank)·B·A."
    )
    dropout: Decimal = Field(default="0", description="Dropout before A, 0 to 1.")
    target_modules: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Names of the linear layers that get an adapter. Default: query and value projections.",
    )


class AdapterType(StrEnum):
    LORA = "LoRA"
    FULL = "Full"


class AdapterSpec(Frozen):
    """What is trained."""

    type: AdapterType = Field(
        default=AdapterType.LORA,
        description="LoRA: low-rank factors on a frozen model; Full: all of the model's weights, in "
        "fp32, published as a whole model.",
    )
    lora: LoraSpec | None = Field(default=None, description="Settings of type LoRA.")

    @property
    def lora_or_default(self) -> LoraSpec:
        """The settings, where the job has none the default ones."""
        return self.lora or LoraSpec()
