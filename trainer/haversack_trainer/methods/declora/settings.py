"""Settings of Dec-LoRA. No torch here: the operator generates the CRD from this class."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from haversack_trainer.contract.base import Check, Decimal
from haversack_trainer.contract.cards import MemoryModel, MethodSettings
from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.contract.records import MAX_LATE_ROUNDS
from haversack_trainer.contract.robust import Robust
from haversack_trainer.contract.robust import fault as fault_of_robust

from .defences import DEFENCE_CHECKS
from .edges import fault_of_edges
from .kinds import (
    DEGREE,
    EDGE_PERCENT,
    MOMENTUM,
    PACES,
    Codec,
    Graph,
    MixerKind,
    OptimizerKind,
    Scheme,
    Shape,
    Weights,
)
from .pace import OPTIMIZER_CHECKS

RHO_PERCENT: Final = 80
BIAS_PERCENT: Final = 10
MAX_EDGES: Final = 2048
EDGE_PATTERN: Final = r"^(0|[1-9][0-9]{0,2})-(0|[1-9][0-9]{0,2})$"

EdgeText = Annotated[str, Field(pattern=EDGE_PATTERN, max_length=7)]


_UNLINEAR: Final = (MixerKind.DECAF, MixerKind.FEDROT)


def _goes_with(field: str, owner: str, *kinds: StrEnum) -> Check:
    """``field`` may be set where ``owner`` has one of these values only."""
    named = ", ".join(f"'{kind}'" for kind in kinds)
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in field)
    return Check(
        f"!has(self.{field}) || self.{owner} in [{named}]",
        lambda settings: getattr(settings, name) is None or getattr(settings, owner) in kinds,
        f"{field}: goes with {owner} {' or '.join(kinds)}; remove it or change the {owner}",
    )


class Settings(MethodSettings):
    """Dec-LoRA: K local steps, then A and B are averaged with the neighbours' (arXiv 2501.15361, Alg. 1)."""

    checks: ClassVar[tuple[Check, ...]] = (
        *OPTIMIZER_CHECKS,
        _goes_with("edgePercent", "graph", Graph.ERDOS_RENYI),
        _goes_with("degree", "graph", Graph.REGULAR),
        Check(
            "has(self.edges) == (self.graph == 'Edges')",
            lambda settings: (settings.edges is not None) == (settings.graph is Graph.EDGES),
            "edges: goes with graph Edges, which needs it; add or remove it, or change the graph",
        ),
        _goes_with("rhoPercent", "graph", Graph.MEASURED_LINKS),
        _goes_with("phaseRounds", "mixer", MixerKind.ADF, MixerKind.AUTO),
        _goes_with("biasPercent", "mixer", MixerKind.AUTO),
        _goes_with("scheme", "codec", Codec.INT8, Codec.INT4),
        Check(
            "!has(self.scheme) || self.scheme != 'CHOCO' || !(self.mixer in ['DeCAF', 'FedRot'])",
            lambda settings: settings.scheme is not Scheme.CHOCO or settings.mixer not in _UNLINEAR,
            "scheme: CHOCO sends changes of each tensor, but DeCAF and FedRot change coordinates; write "
            "Difference or change the mixer",
        ),
        Check(
            "!has(self.scheme) || self.scheme != 'CHOCO' || !(self.graph == 'Matchings' || has(self.maxStaleness))",
            lambda settings: settings.scheme is not Scheme.CHOCO or not settings.changes_company,
            "scheme: CHOCO builds on what the same neighbours sent before, which graph Matchings and maxStaleness "
            "change from round to round; write Difference",
        ),
        Check(
            "!has(self.maxStaleness) || !(self.mixer in ['DeCAF', 'FedRot'])",
            lambda settings: settings.max_staleness is None or settings.mixer not in _UNLINEAR,
            "maxStaleness: a state that has moved on is mixed by differences, but DeCAF and FedRot change "
            "coordinates; remove it or change the mixer",
        ),
        Check(
            "self.weights != 'PushSum' || (self.mixer in ['Factor', 'FFA', 'ADF'] && self.codec == 'Float32' && "
            "!has(self.maxStaleness))",
            lambda settings: settings.weights is not Weights.PUSH_SUM or settings.keeps_account,
            "weights: PushSum keeps account of states as they are; write mixer Factor, FFA or ADF and codec Float32, "
            "and remove maxStaleness",
        ),
        *DEFENCE_CHECKS,
    )

    local_steps: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Optimizer steps of a peer between two exchanges (K).",
    )
    optimizer: OptimizerKind = Field(
        default=OptimizerKind.ADAMW,
        description="Of the local steps. AdamW: steps are of one length, however well a peer's own data fit already. SGD: "
        "with momentum; better where peers' data are unlike. QuasiGlobal: SGD whose momentum follows the mixed state, for "
        "unlike data and few neighbours; no more bytes.",
    )
    learning_rate: Decimal | None = Field(
        default=None,
        description="The optimizer's. Default "
        f"{PACES[OptimizerKind.ADAMW].learning_rate} with AdamW, {PACES[OptimizerKind.SGD].learning_rate} otherwise.",
    )
    momentum: Decimal | None = Field(
        default=None,
        description="SGD and QuasiGlobal only: what is left of the momentum after a step (for QuasiGlobal also after "
        f"a round). Default {MOMENTUM}.",
    )
    weight_decay: Decimal = Field(default="0", description="The optimizer's weight decay.")
    max_grad_norm: Decimal | None = Field(
        default=None,
        description="Gradients are clipped to this norm; 0 turns it off. Low, it makes peers pull alike however well they "
        f"fit. Default {PACES[OptimizerKind.ADAMW].max_grad_norm} with AdamW, {PACES[OptimizerKind.SGD].max_grad_norm} otherwise.",
    )
    graph: Graph = Field(
        default=Graph.RING,
        description="Who mixes with whom. Exponential: with those 1, 2, 4, … further on. Regular and "
        "ErdosRenyi: random, from training.seed. Complete: with everybody. Star: what a server would do "
        "(FedAvg), for comparison. Edges: as listed in edges. MeasuredLinks: planned from how fast the peers' "
        "links prove to be in the first rounds, cheap for a wanted speed of mixing (rhoPercent). Matchings: in "
        "pairs, drawn anew each round from training.seed.",
    )
    edge_percent: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description=f"ErdosRenyi only: probability of an edge, in percent. Default {EDGE_PERCENT}.",
    )
    degree: int | None = Field(
        default=None,
        ge=2,
        le=255,
        description=f"Regular only: neighbours of each peer. Default {DEGREE}.",
    )
    edges: list[EdgeText] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_EDGES,
        description="Edges only: pairs of peer numbers, counted from 0 over all pools, such as 0-1. They must "
        "connect all peers. While a peer is away, the parts that it held together are linked at their lowest "
        "peers.",
    )
    rho_percent: int | None = Field(
        default=None,
        ge=1,
        le=99,
        description="MeasuredLinks only: share of the peers' disagreement that may be left after a round, in "
        f"percent. Less costs more bytes. Default {RHO_PERCENT}.",
    )
    max_staleness: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LATE_ROUNDS,
        description="Goes with training.roundDeadlineSeconds. A state that comes up to so many rounds after its round "
        "was closed is still mixed, and its peer goes on with its own; who has missed more starts from the mean. "
        "Default: what comes late is left, and its peer starts from the mean.",
    )
    weights: Weights = Field(
        default=Weights.METROPOLIS,
        description="How much a neighbour counts. Metropolis: by degrees; mixes fastest. Laplacian: the "
        "paper's, for ErdosRenyi. Samples: peers count by their number of training samples, and so in the "
        "run's adapter. PushSum: each gives away equal shares of its state and of its mass; one that cannot be read "
        "goes back to its sender instead of stopping the reader.",
    )
    mixer: MixerKind = Field(
        default=MixerKind.FACTOR,
        description="How adapters are combined. Factor: A and B averaged apart. FFA: A stays as drawn, only B "
        "is trained and sent. ADF: A and B are trained in turns, both mixed. DeCAF: the products B·A are "
        "averaged and cut back to the rank. FedRot: neighbours are turned to this peer's coordinates first. "
        "Auto: Factor until averaging factors costs too much (biasPercent), then ADF on sparse graphs and "
        "DeCAF on dense ones.",
    )
    phase_rounds: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="ADF and Auto only: rounds before the other factor's turn. Default: by how slowly the graph "
        "mixes, 1 to 15.",
    )
    bias_percent: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Auto only: the mixer changes once the median peer's product_bias_percent exceeds this. "
        f"Default {BIAS_PERCENT}.",
    )
    codec: Codec = Field(
        default=Codec.FLOAT32,
        description="Numbers on the wire. Int8: about a quarter of the bytes. Int4: about a seventh.",
    )
    scheme: Scheme | None = Field(
        default=None,
        description="Int8 and Int4 only. CHOCO: what has changed since the last round. Difference: the state "
        "itself, coarser, but with any mixer. Default: CHOCO where the mixer allows it.",
    )
    privacy: DeltaPrivacy | None = Field(
        default=None,
        description="Clip what a round changes and add noise, so that what is published tells little of all of a "
        "peer's data together. Needs mixer FFA; Auto is FFA then. Off if absent.",
    )
    robust: Robust | None = Field(
        default=None,
        description="A peer and its neighbours are averaged so that some of them may be wrong. The mean over the peers "
        "is then no longer preserved. Off if absent.",
    )

    @property
    def rate(self) -> float:
        """The learning rate, given or usual."""
        return float(self.learning_rate or PACES[self.optimizer].learning_rate)

    @property
    def norm_limit(self) -> float:
        """Longest gradient that is left as it is; 0 for any."""
        if self.max_grad_norm is None:
            return PACES[self.optimizer].max_grad_norm
        return float(self.max_grad_norm)

    @property
    def momentum_share(self) -> float:
        """Of a momentum, what the next step keeps."""
        return MOMENTUM if self.momentum is None else float(self.momentum)

    @property
    def is_chained(self) -> bool:
        """Whether what is sent builds on what was sent before."""
        if self.codec is Codec.FLOAT32 or self.changes_company:
            return False
        return self.scheme is not Scheme.DIFFERENCE and self.mixer not in _UNLINEAR

    @property
    def keeps_account(self) -> bool:
        """Whether what is mixed are the states themselves, each tensor by itself, and as of the round."""
        is_linear = self.mixer in (MixerKind.FACTOR, MixerKind.FFA, MixerKind.ADF)
        return is_linear and self.codec is Codec.FLOAT32 and self.max_staleness is None

    @property
    def changes_company(self) -> bool:
        """Whether a peer may mix with others in each round."""
        return self.graph is Graph.MATCHINGS or self.max_staleness is not None

    @property
    def edge_pairs(self) -> list[tuple[int, int]]:
        """``edges`` as numbers."""
        pairs = (text.split("-") for text in self.edges or ())
        return [(int(one), int(other)) for one, other in pairs]

    @property
    def shape(self) -> Shape:
        """What the graph of a round follows from, beside who is in it."""
        return Shape(
            self.graph,
            self.weights,
            tuple(self.edge_pairs),
            self.edge_percent or EDGE_PERCENT,
            self.degree or DEGREE,
        )

    def memory(self, usual: MemoryModel) -> MemoryModel:
        each = usual.bytes_per_trainable + PACES[self.optimizer].more_bytes
        return replace(usual, bytes_per_trainable=each)

    def fault(self, num_peers: int) -> str | None:
        # Not at the top: NumPy is too heavy for commands that only look.
        from haversack_trainer.privacy.account import fault

        return fault_of_edges(self.edges, self.edge_pairs, num_peers) or fault(self.privacy)

    def fault_of_few(self, min_peers: int) -> str | None:
        if self.robust is None:
            return None
        # Not at the top: NumPy is too heavy for commands that only look.
        from .network import least_neighbourhood

        where = (
            "minPeers leaves"
            if self.graph is not Graph.EDGES
            else "edges gives a peer and its neighbours"
        )
        return fault_of_robust(self.robust, least_neighbourhood(self.shape, min_peers), where)
