"""Settings of DropPEFT. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import LEARNS, Check, Decimal, is_share
from haversack_trainer.contract.cards import MethodSettings
from haversack_trainer.contract.privacy import PRIVACY_CHECKS, DeltaPrivacy
from haversack_trainer.contract.robust import Robust
from haversack_trainer.contract.robust import fault as fault_of_robust

from .kinds import Protect, Sampler, Shape


class Rescale(StrEnum):
    NONE = "None"
    TRAIN_INVERSE = "TrainInverse"


class Weighting(StrEnum):
    STEPS = "Steps"
    SAMPLES = "Samples"


class Share(StrEnum):
    ALL = "All"
    LOW = "Low"
    HIGH = "High"
    FIXED_BOTTOM = "FixedBottom"


class Head(StrEnum):
    SHARED = "Shared"
    PERSONAL = "Personal"


class Configurator(StrEnum):
    OFF = "Off"
    EPSILON_GREEDY = "EpsilonGreedy"
    DISCOUNTED_UCB = "DiscountedUCB"


class Reward(StrEnum):
    LOSS_RATE = "LossRate"
    ACCURACY_RATE = "AccuracyRate"


DEFAULT_ARMS: Final = tuple(f"0.{tenths}" for tenths in range(1, 9))
"""Drop rates that the configurator tries beside 0, as far as the model has layers to drop."""


def _needs_configurator(alias: str, name: str) -> Check:
    return Check(
        f"!has(self.{alias}) || self.configurator != 'Off'",
        lambda settings: (
            getattr(settings, name) is None or settings.configurator is not Configurator.OFF
        ),
        f"{alias}: goes with a configurator; remove it or set configurator",
    )


class Settings(MethodSettings):
    """DropPEFT: whole layers are dropped at random in training, and peers' adapters averaged by layer (arXiv 2503.10217)."""

    checks: ClassVar[tuple[Check, ...]] = (
        LEARNS,
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
        Check(
            "!has(self.arms) || self.arms.all(arm, double(arm) <= double(self.maxDropRate))",
            lambda settings: all(
                float(arm) <= float(settings.max_drop_rate) for arm in settings.arms or ()
            ),
            "arms: one is above maxDropRate; lower it",
        ),
        Check(
            "!has(self.sharedLayers) || self.share != 'All'",
            lambda settings: settings.shared_layers is None or settings.share is not Share.ALL,
            "sharedLayers: goes with share Low, High or FixedBottom; remove it or set share",
        ),
        Check(
            "double(self.importanceMemory) < 1.0",
            lambda settings: float(settings.importance_memory) < 1,
            "importanceMemory: nothing new would be learned; write less than 1",
        ),
        is_share("maxShareChange"),
        is_share("exploration"),
        is_share("explorationDecay"),
        is_share("leastExploration"),
        is_share("discount"),
        *(
            _needs_configurator(alias, name)
            for alias, name in (("arms", "arms"), ("roundSeconds", "round_seconds"))
        ),
        Check(
            "!has(self.privacy) || (self.configurator == 'Off' && self.share in ['All', 'FixedBottom'] && "
            "self.shape != 'Importance')",
            lambda settings: (
                settings.privacy is None
                or (
                    settings.configurator is Configurator.OFF
                    and settings.share in (Share.ALL, Share.FIXED_BOTTOM)
                    and settings.shape is not Shape.IMPORTANCE
                )
            ),
            "privacy: what is chosen by a peer's gradients or losses tells of its data; write configurator Off, "
            "share All or FixedBottom, and another shape than Importance",
        ),
        *PRIVACY_CHECKS,
    )

    def fault(self, _num_peers: int) -> str | None:
        # Not at the top: NumPy is too heavy for commands that only look.
        from haversack_trainer.privacy.account import fault

        return fault(self.privacy)

    def fault_of_few(self, min_peers: int) -> str | None:
        cohort = self.cohort_size or min_peers
        where = "cohortSize leaves" if cohort < min_peers else "minPeers leaves"
        return fault_of_robust(self.robust, min(cohort, min_peers), where)

    def active_layers(self, num_layers: int) -> int:
        """Under the drop rate, or the highest that the configurator may choose."""
        # NumPy is too heavy for commands that only look.
        from .masks import most_active
        from .rates import Infeasible, protected_layers, shape_weights, water_fill

        arms = [float(self.drop_rate)]
        if self.configurator is not Configurator.OFF:
            arms = [float(arm) for arm in self.arms or DEFAULT_ARMS]
        found = [num_layers]
        for arm in arms:
            try:
                kept = protected_layers(self.protect, self.protected_layers or (), (), num_layers)
                weights = shape_weights(self.shape, num_layers)
                rates = water_fill(weights, kept, arm, float(self.max_drop_rate))
            except Infeasible:
                continue
            found.append(most_active(rates, self.sampler))
        return min(found)

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
    share: Share = Field(
        default=Share.ALL,
        description="Layers whose tensors are averaged; the others stay with their peer. Low: those with the "
        "smallest gradients on the peer's data, on which peers agree; High: the largest; FixedBottom: the first.",
    )
    shared_layers: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="How many layers a peer shares, unless All. Default half of those that are trained.",
    )
    importance_memory: Decimal = Field(
        default="0.5",
        description="How much of a layer's importance is that of earlier rounds.",
    )
    max_share_change: Decimal = Field(
        default="0.25", description="Share of the shared layers that may change in a round."
    )
    configurator: Configurator = Field(
        default=Configurator.OFF,
        description="Chooses each peer's drop rate, round by round, by what earlier ones gained: EpsilonGreedy, "
        "or DiscountedUCB. Off: dropRate.",
    )
    arms: list[Decimal] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Drop rates that the configurator tries, beside 0. Default 0.1 to 0.8 in steps of 0.1, as far "
        "as the model has layers to drop.",
    )
    reward: Reward = Field(
        default=Reward.LOSS_RATE,
        description="What the configurator looks for, each second: a lower loss, or (classification only) more "
        "accuracy, which tells less from few samples.",
    )
    probe_steps: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Batches, not yet trained on, that a gain is measured on before and after the local steps.",
    )
    round_seconds: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Most that a peer's local steps may be expected to take; the configurator drops more where "
        "they would take longer.",
    )
    window_rounds: int = Field(
        default=10, ge=1, le=10_000, description="Rounds that the configurator looks back."
    )
    exploration: Decimal = Field(
        default="0.3", description="EpsilonGreedy: chance of trying another rate, at the start."
    )
    exploration_decay: Decimal = Field(
        default="0.97", description="EpsilonGreedy: that chance's factor from round to round."
    )
    least_exploration: Decimal = Field(
        default="0.05", description="EpsilonGreedy: what it does not fall below."
    )
    discount: Decimal = Field(
        default="0.9", description="DiscountedUCB: weight of a reward, a round later."
    )
    confidence: Decimal = Field(
        default="0.5",
        description="DiscountedUCB: how much a rate that is little known is preferred.",
    )
    privacy: DeltaPrivacy | None = Field(
        default=None,
        description="Clip what a round changes and add noise, so that what is published tells little of all of a "
        "peer's data together. LoRA's A then stays as drawn, and only B is trained and sent. Off if absent.",
    )
    robust: Robust | None = Field(
        default=None,
        description="Each layer is averaged so that some of the peers may be wrong; peers then count the same, whatever "
        "weighting says. A layer that too few peers sent stays as it is. Off if absent.",
    )
