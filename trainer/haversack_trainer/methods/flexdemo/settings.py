"""Settings of FlexDeMo. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import LEARNS, Check, Decimal, is_share, learns
from haversack_trainer.contract.cards import MethodSettings

CHUNK: Final = 64
TOP_K: Final = 4
RATE: Final = "0.0625"
BETA: Final = "0.999"
ALPHA: Final = "1"
SYNC_EVERY: Final = 100
OUTER_LEARNING_RATE: Final = "0.7"
OUTER_MOMENTUM: Final = "0.9"


class Scheme(StrEnum):
    AUTO = "Auto"
    DEMO = "DeMo"
    RANDOM = "Random"
    STRIDING = "Striding"
    DILOCO = "DiLoCo"
    FULL = "Full"


class Update(StrEnum):
    SIGN = "Sign"
    IDENTITY = "Identity"
    ADAMW = "AdamW"


class MeanMode(StrEnum):
    SELECTED = "Selected"
    ALL = "All"


class ValueType(StrEnum):
    FP32 = "FP32"
    BF16 = "BF16"
    SIGN = "Sign"


class Precision(StrEnum):
    FP32 = "FP32"
    BF16 = "BF16"


class Sharding(StrEnum):
    NONE = "None"
    ZERO1 = "ZeRO1"
    ZERO2 = "ZeRO2"
    ZERO3 = "ZeRO3"
    FSDP2 = "FSDP2"


def _only(field: str, name: str, *schemes: Scheme) -> Check:
    """``field`` means nothing outside ``schemes``; what does nothing is refused."""
    listed = ", ".join(f"'{scheme}'" for scheme in schemes)
    words = " or ".join(schemes)
    return Check(
        f"!has(self.{field}) || self.scheme in [{listed}]",
        lambda settings: getattr(settings, name) is None or settings.scheme in schemes,
        f"{field}: goes with scheme {words}; remove it or change the scheme",
    )


_SELECTIVE: Final = (Scheme.DEMO, Scheme.RANDOM, Scheme.STRIDING)


class Settings(MethodSettings):
    """FlexDeMo: peers exchange the fast-moving part of their momentum (arXiv 2502.06728), or what another scheme picks."""

    checks: ClassVar[tuple[Check, ...]] = (
        LEARNS,
        Check(
            "self.precision == 'FP32' || self.sharding != 'None'",
            lambda settings: (
                settings.precision is Precision.FP32 or settings.sharding is not Sharding.NONE
            ),
            "precision: BF16 goes with sharding, which keeps fp32 weights beside; write FP32, or set sharding",
        ),
        _only("chunk", "chunk", Scheme.DEMO),
        _only("topK", "top_k", Scheme.DEMO),
        _only("meanMode", "mean_mode", Scheme.DEMO),
        _only("rate", "rate", Scheme.RANDOM, Scheme.STRIDING),
        _only("beta", "beta", *_SELECTIVE),
        _only("alpha", "alpha", *_SELECTIVE),
        _only("update", "update", *_SELECTIVE, Scheme.FULL, Scheme.AUTO),
        _only("syncEvery", "sync_every", Scheme.DILOCO),
        _only("outerLearningRate", "outer_learning_rate", Scheme.DILOCO),
        _only("outerMomentum", "outer_momentum", Scheme.DILOCO),
        Check(
            f"!has(self.chunk) && !has(self.topK) || "
            f"2 * (has(self.topK) ? self.topK : {TOP_K}) < (has(self.chunk) ? self.chunk : {CHUNK})",
            lambda settings: 2 * (settings.top_k or TOP_K) < (settings.chunk or CHUNK),
            "topK: half of the chunk or more saves nothing; write less than half of chunk",
        ),
        Check(
            "!has(self.chunk) || self.chunk in [16, 32, 64, 128, 256]",
            lambda settings: settings.chunk in {None, 16, 32, 64, 128, 256},
            "chunk: is no power of two from 16 to 256; write 16, 32, 64, 128 or 256",
        ),
        is_share("rate"),
        Check(
            "!has(self.beta) || double(self.beta) < 1.0",
            lambda settings: settings.beta is None or float(settings.beta) < 1,
            "beta: momentum that never decays grows without end; write less than 1",
        ),
        Check(
            "!has(self.alpha) || double(self.alpha) <= 1.0",
            lambda settings: settings.alpha is None or float(settings.alpha) <= 1,
            "alpha: is the share of what was sent that leaves the momentum; write at most 1",
        ),
        Check(
            "self.scheme != 'DeMo' || !has(self.alpha) || double(self.alpha) > 0.0",
            lambda settings: (
                settings.scheme is not Scheme.DEMO
                or settings.alpha is None
                or float(settings.alpha) > 0
            ),
            "alpha: at 0 DeMo sends the same coefficients again and again; write more than 0",
        ),
        learns("outerLearningRate"),
        Check(
            "!has(self.outerMomentum) || double(self.outerMomentum) < 1.0",
            lambda settings: settings.outer_momentum is None or float(settings.outer_momentum) < 1,
            "outerMomentum: momentum that never decays grows without end; write less than 1",
        ),
        Check(
            "self.delay == 0 || self.scheme != 'DiLoCo'",
            lambda settings: settings.delay == 0 or settings.scheme is not Scheme.DILOCO,
            "delay: DiLoCo's exchanges are rare already; remove it or change the scheme",
        ),
        Check(
            "self.delay == 0 || self.scheme != 'Auto'",
            lambda settings: settings.delay == 0 or settings.scheme is not Scheme.AUTO,
            "delay: scheme Auto chooses it; remove it or change the scheme",
        ),
        Check(
            "self.scheme != 'Auto' || !has(self.update) || self.update != 'Identity'",
            lambda settings: (
                settings.scheme is not Scheme.AUTO or settings.update is not Update.IDENTITY
            ),
            "update: Identity's learning rate is none for DiLoCo, which scheme Auto may choose; write Sign or AdamW",
        ),
    )

    precision: Precision = Field(
        default=Precision.FP32,
        description="What a peer computes with; BF16 with sharding only. The weights that are trained are FP32.",
    )
    sharding: Sharding = Field(
        default=Sharding.NONE,
        description="How the processes of a peer share its model out, one per accelerator (or pools[].processes): "
        "DeepSpeed's ZeRO 1, 2 or 3, or PyTorch's FSDP2. ZeRO3 loads a frozen model without ever holding the whole "
        "of it. None: one process.",
    )
    scheme: Scheme = Field(
        default=Scheme.DEMO,
        description="What is exchanged: DeMo the largest DCT coefficients of the momentum, Random and Striding "
        "a changing share of its elements, DiLoCo all weights now and then, Full the whole gradient. Auto times the "
        "first rounds and takes the richest of these whose exchange hides behind compute.",
    )
    learning_rate: Decimal = Field(
        default="0.0003",
        description="Step size; with update Sign a tenth to a third of what AdamW would take. DiLoCo: of the inner AdamW.",
    )
    weight_decay: Decimal = Field(default="0", description="Decoupled weight decay.")
    max_grad_norm: Decimal = Field(
        default="0", description="A peer's gradients are clipped to this norm; 0 turns it off."
    )
    update: Update | None = Field(
        default=None,
        description="What becomes of the mean: its Sign (default), itself (Identity) or an AdamW step. Not with DiLoCo; Identity not with Auto.",
    )
    chunk: int | None = Field(
        default=None,
        ge=16,
        le=256,
        description=f"DeMo only: elements transformed together, a power of two. Default {CHUNK}.",
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description=f"DeMo only: coefficients kept of each chunk. Default {TOP_K}.",
    )
    mean_mode: MeanMode | None = Field(
        default=None,
        description="DeMo only: divide a coefficient's sum by the peers that Selected it (default) or by All.",
    )
    rate: Decimal | None = Field(
        default=None,
        description="Random and Striding only: share of the elements sent in a round; Striding sends every n-th, "
        f"with n = 1/rate rounded up. Default {RATE}.",
    )
    beta: Decimal | None = Field(
        default=None,
        description=f"Decay of the momentum; 0.99 suits runs of less than 2000 rounds. Default {BETA}. "
        "Not with DiLoCo and Full.",
    )
    alpha: Decimal | None = Field(
        default=None,
        description=f"Share of what was sent that is taken out of the momentum. Default {ALPHA}. Not with DiLoCo and Full.",
    )
    value_type: ValueType = Field(
        default=ValueType.BF16,
        description="How a value is sent; Sign is one bit, and one scale for 64 values or a chunk.",
    )
    delay: int = Field(
        default=0,
        ge=0,
        le=1,
        description="1: a round's gradient is computed while the round before is exchanged; it is older by one step.",
    )
    sync_every: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description=f"DiLoCo only: local AdamW steps between two exchanges. Default {SYNC_EVERY}.",
    )
    outer_learning_rate: Decimal | None = Field(
        default=None,
        description=f"DiLoCo only: step size of the outer Nesterov step. Default {OUTER_LEARNING_RATE}.",
    )
    outer_momentum: Decimal | None = Field(
        default=None,
        description=f"DiLoCo only: momentum of the outer Nesterov step. Default {OUTER_MOMENTUM}.",
    )
    checksum_every: int = Field(
        default=50,
        ge=0,
        le=100_000,
        description="Rounds between two comparisons of all peers' weights; who differs gets them anew. 0 turns it off.",
    )
