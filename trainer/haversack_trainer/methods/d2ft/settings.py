"""Settings of D2FT. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import Check, Decimal, Frozen, is_share
from haversack_trainer.contract.cards import MemoryModel, MethodSettings
from haversack_trainer.methods.declora.settings import Settings as Gossip

from .kinds import BackwardScore, ForwardScore, Mode, Protect, Rescale, Sharding, Solver, Ties
from .pod_memory import in_pod, largest_share

BUDGET: Final = "0.6"
FULL_SHARE: Final = "0.8"


def _goes_with(alias: str, name: str, *solvers: Solver) -> Check:
    named = ", ".join(f"'{solver}'" for solver in solvers)
    return Check(
        f"!has(self.{alias}) || self.solver in [{named}]",
        lambda settings: getattr(settings, name) is None or settings.solver in solvers,
        f"{alias}: goes with solver {' or '.join(solvers)}; remove it or change the solver",
    )


def _of_gossip(check: Check) -> Check:
    """The same of the member ``gossip``."""
    holds: Callable[[Any], bool] = check.holds
    return Check(
        check.cel.replace("self.", "self.gossip."),
        lambda settings: holds(settings.gossip),
        f"gossip.{check.message}",
    )


class Slots(Frozen):
    """What every group does, in micro-batches of a step; it skips the others."""

    full: int = Field(
        default=3, ge=1, le=64, description="Micro-batches that a group runs forward and backward."
    )
    forward_only: int = Field(
        default=0, ge=0, le=63, description="Micro-batches that a group runs forward only."
    )

    @property
    def total(self) -> int:
        """Of those that are not skipped."""
        return self.full + self.forward_only


_SLOTS: Final = (
    Check(
        "has(self.slots) == (self.solver == 'Slots')",
        lambda settings: (settings.slots is not None) == (settings.solver is Solver.SLOTS),
        "slots: goes with solver Slots, which needs it; add or remove it, or change the solver",
    ),
    Check(
        "!has(self.slots) || self.slots.full + self.slots.forwardOnly <= self.microBatches",
        lambda settings: settings.slots is None or settings.slots.total <= settings.micro_batches,
        "slots: are more than microBatches; lower them or raise it",
    ),
    Check(
        "!has(self.slots) || self.protect == 'None' "
        "|| self.slots.full + self.slots.forwardOnly == self.microBatches",
        lambda settings: (
            settings.slots is None
            or settings.protect is Protect.NONE
            or settings.slots.total == settings.micro_batches
        ),
        "protect: slots that skip spare no layer; write None, raise slots.forwardOnly, or change the solver",
    ),
)


class Settings(MethodSettings):
    """D2FT: each group of heads runs in full, forward only or not at all on each micro-batch, by schedule (arXiv 2504.12471)."""

    checks: ClassVar[tuple[Check, ...]] = (
        *_SLOTS,
        *(_goes_with(name, name, Solver.EXACT, Solver.TWO_STAGE) for name in ("budget", "devices")),
        _goes_with("fullShare", "full_share", Solver.TWO_STAGE),
        *map(is_share, ("budget", "fullShare", "rho")),
        Check(
            "!has(self.rho) || !self.measureRho",
            lambda settings: settings.rho is None or not settings.measure_rho,
            "measureRho: rho is given; remove one of the two",
        ),
        Check(
            "double(self.scoreMemory) < 1.0",
            lambda settings: float(settings.score_memory) < 1,
            "scoreMemory: nothing new would be learned; write less than 1",
        ),
        Check(
            "self.sharding == 'None' || self.mode == 'Sliced'",
            lambda settings: settings.sharding is Sharding.NONE or settings.mode is Mode.SLICED,
            "mode: Emulate masks groups that are all in one process; write Sliced, or sharding None",
        ),
        *map(_of_gossip, Gossip.checks),
    )

    groups: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Groups that each layer is cut into, each with an equal part of its heads and of its "
        "feed-forward width: a divisor of the number of key-value heads. Default: that number.",
    )
    micro_batches: int = Field(
        default=5,
        ge=1,
        le=64,
        description="Pieces of equal size that a step's batch is cut into; each has operations of its own.",
    )
    solver: Solver = Field(
        default=Solver.EXACT,
        description="Exact: the most valuable operations within budget. TwoStage: the paper's, first what runs in "
        "full, then what runs forward only. Slots: the same numbers for every group.",
    )
    budget: Decimal | None = Field(
        default=None,
        description="Exact and TwoStage only: share of a full step's work that a step may take. "
        f"Default {BUDGET}.",
    )
    slots: Slots | None = Field(
        default=None,
        description="Slots only: what every group does; it skips the other micro-batches.",
    )
    full_share: Decimal | None = Field(
        default=None,
        description="TwoStage only: share of the budget for what runs in full; the rest is for forward only. "
        f"Default {FULL_SHARE}.",
    )
    rho: Decimal | None = Field(
        default=None,
        description="Cost of a forward pass, as a share of forward and backward pass. Default 0.5 for LoRA, 0.3333 "
        "where all weights are trained.",
    )
    measure_rho: bool = Field(
        default=False,
        description="Each peer measures rho on its first batch. Two runs then do not schedule alike.",
    )
    devices: list[Annotated[int, Field(ge=1, le=1000)]] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Exact and TwoStage only: relative speeds of the devices that the groups are dealt over; each "
        "gets work in proportion. [1]: one budget for the whole model. Default: a device for each group, as in the "
        "paper.",
    )
    forward_score: ForwardScore = Field(
        default=ForwardScore.GATE,
        description="What running a group at all is worth. Gate: how much the loss would change without it, to "
        "first order. Fisher: the square of its gradient (the paper's).",
    )
    backward_score: BackwardScore = Field(
        default=BackwardScore.GATE,
        description="What training a group is worth on top. Magnitude: the sum of its weights, the same for all "
        "micro-batches (the paper's). Gate: as forwardScore.",
    )
    backward_weight: Decimal = Field(
        default="1", description="Weight of the backward score beside the forward score."
    )
    refresh_steps: int = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description="Steps between two scorings, each a forward and backward pass of one batch. 0: the peer's whole "
        "data once, before the first step (the paper's).",
    )
    score_memory: Decimal = Field(
        default="0.9", description="How much of a score is that of earlier scorings."
    )
    staleness_bonus: Decimal = Field(
        default="0.01",
        description="What a group gains in value, in units of the mean score, for each step since it last ran in "
        "full: so that it is tried again. Not with refreshSteps 0.",
    )
    ties: Ties = Field(
        default=Ties.ROTATE,
        description="Which of equally valuable micro-batches a group takes. Rotate: each group begins at another "
        "one. Index: all at the first, so that the last are hardly trained on.",
    )
    min_active: int = Field(
        default=1,
        ge=0,
        le=1024,
        description="Groups of each layer that run in full on every micro-batch.",
    )
    max_idle_steps: int = Field(
        default=10,
        ge=0,
        le=100_000,
        description="Every group runs in full at least once in so many steps; 0: or never.",
    )
    protect: Protect = Field(
        default=Protect.NONE, description="Layers of which no group is ever skipped."
    )
    warm_up_steps: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Steps at the run's start in which everything runs in full.",
    )
    rescale: Rescale = Field(
        default=Rescale.NONE,
        description="TrainInverse divides what a layer's groups add by the share of them that run, in full or forward "
        "only, on this micro-batch.",
    )
    reweight: bool = Field(
        default=False,
        description="A layer's gradient is divided by the share of its groups and micro-batches that ran in full.",
    )
    mode: Mode = Field(
        default=Mode.SLICED,
        description="Sliced: what runs is as narrow as the groups that do, which saves time and memory; for most "
        "families. Emulate: by masks, for any family, slower than running everything.",
    )
    sharding: Sharding = Field(
        default=Sharding.NONE,
        description="How the processes of a peer share its model out, one per accelerator (or pools[].processes): "
        "with Groups each holds and runs some groups of every layer, and the first one the rest of the model. None: "
        "one process.",
    )
    gossip: Gossip = Field(
        default=Gossip(),
        description="Optimizer steps of a peer, and what peers exchange: Dec-LoRA's settings.",
    )

    def memory(self, usual: MemoryModel) -> MemoryModel:
        """The optimizer is in ``gossip``."""
        return self.gossip.memory(usual)

    def memory_in_pod(self, memory: MemoryModel, num_processes: int) -> MemoryModel:
        """Unequal devices get what their groups' weights say, and rho is measured on the whole model."""
        if self.sharding is Sharding.NONE or num_processes == 1:
            return memory
        is_even = self.devices is None and not self.measure_rho
        return in_pod(memory, largest_share(self.groups, num_processes) if is_even else 1.0)

    def fault(self, num_peers: int) -> str | None:
        """Of the graph over so many peers."""
        fault = self.gossip.fault(num_peers)
        if self.gossip.privacy is not None and self.gossip.privacy.is_of_samples:
            fault = "privacy.unit: gradients of groups are not by sample; write Peer"
        return None if fault is None else f"gossip.{fault}"

    def fault_of_processes(self, num_processes: int) -> str | None:
        if self.devices is None or len(self.devices) == num_processes or num_processes == 1:
            return None
        return (
            f"devices: names {len(self.devices)}, and a peer has {num_processes} processes to share groups out to; "
            "write one for each, or sharding None"
        )

    def fault_of_few(self, min_peers: int) -> str | None:
        fault = self.gossip.fault_of_few(min_peers)
        return None if fault is None else f"gossip.{fault}"

    def fault_of_scores(self) -> str | None:
        fault = self.gossip.fault_of_scores()
        return None if fault is None else f"gossip.{fault}"
