"""What Dec-LoRA's settings may say, as values that ``settings`` and what obeys them share. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from haversack_trainer.contract.weights import FLOAT_BYTES

EDGE_PERCENT: Final = 50
DEGREE: Final = 4
MOMENTUM: Final = 0.9


class OptimizerKind(StrEnum):
    ADAMW = "AdamW"
    SGD = "SGD"
    QUASI_GLOBAL = "QuasiGlobal"


class Pace(NamedTuple):
    """Of an optimizer, where the job does not say."""

    learning_rate: float
    max_grad_norm: int
    more_bytes: int = 0
    """In memory, a trained weight, beyond what AdamW keeps."""


_OF_SGD: Final = Pace(0.1, 10)
PACES: Final[Mapping[OptimizerKind, Pace]] = {
    OptimizerKind.ADAMW: Pace(0.001, 1),
    OptimizerKind.SGD: _OF_SGD,
    OptimizerKind.QUASI_GLOBAL: _OF_SGD._replace(more_bytes=FLOAT_BYTES),
}


class Graph(StrEnum):
    RING = "Ring"
    EXPONENTIAL = "Exponential"
    REGULAR = "Regular"
    ERDOS_RENYI = "ErdosRenyi"
    COMPLETE = "Complete"
    STAR = "Star"
    EDGES = "Edges"
    MEASURED_LINKS = "MeasuredLinks"
    MATCHINGS = "Matchings"


class Weights(StrEnum):
    METROPOLIS = "Metropolis"
    LAPLACIAN = "Laplacian"
    SAMPLES = "Samples"
    PUSH_SUM = "PushSum"


class MixerKind(StrEnum):
    FACTOR = "Factor"
    FFA = "FFA"
    ADF = "ADF"
    DECAF = "DeCAF"
    FEDROT = "FedRot"
    AUTO = "Auto"


class Codec(StrEnum):
    FLOAT32 = "Float32"
    INT8 = "Int8"
    INT4 = "Int4"


class Scheme(StrEnum):
    CHOCO = "CHOCO"
    DIFFERENCE = "Difference"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of the graphs of a run."""

    graph: Graph
    weights: Weights
    edges: tuple[tuple[int, int], ...] = ()
    edge_percent: int = EDGE_PERCENT
    degree: int = DEGREE
