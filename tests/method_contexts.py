"""What else must be set for a bound of a method's settings to be the only thing that a value breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DROP: Final = "spec.method.dropPEFT"
_LORA: Final = "spec.method.decLoRA"
_FLEX: Final = "spec.method.flexDeMo"
_D2FT: Final = "spec.method.d2FT"


def _flex(scheme: str) -> Mapping[str, Any]:
    return {"spec.method.type": "FlexDeMo", f"{_FLEX}.scheme": scheme}


_CONTEXTS: Final[dict[str, Mapping[str, Any]]] = {
    "spec.method.spsa": {"spec.method.type": "SPSA"},
    "spec.method.auto": {"spec.method.type": "Auto"},
    "spec.method.auto.latencyMilliseconds": {
        "spec.method.type": "Auto",
        "spec.method.auto.bandwidthMbps": "1",
    },
    _FLEX: {"spec.method.type": "FlexDeMo"},
    **{
        f"{_FLEX}.{field}": _flex("DiLoCo")
        for field in ("syncEvery", "outerLearningRate", "outerMomentum")
    },
    f"{_FLEX}.rate": _flex("Random"),
    f"{_FLEX}.topK": {**_flex("DeMo"), f"{_FLEX}.chunk": 256},
    **{
        f"spec.method.spsa.{field}": {
            "spec.method.type": "SPSA",
            f"spec.method.spsa.{other}": value,
        }
        for field, other, value in (
            ("rank", "distribution", "LowRank"),
            ("refreshRounds", "distribution", "LowRank"),
            ("localSteps", "estimator", "Projection"),
            ("localLearningRate", "estimator", "Projection"),
            ("pointsPerPass", "sharedBatch", True),
        )
    },
    _D2FT: {"spec.method.type": "D2FT"},
    f"{_D2FT}.microBatches": {"spec.method.type": "D2FT", "spec.training.batchSize": 64},
    f"{_D2FT}.slots": {
        "spec.method.type": "D2FT",
        f"{_D2FT}.solver": "Slots",
        f"{_D2FT}.microBatches": 64,
        "spec.training.batchSize": 64,
    },
    f"{_D2FT}.slots.forwardOnly": {
        "spec.method.type": "D2FT",
        f"{_D2FT}.solver": "Slots",
        f"{_D2FT}.microBatches": 64,
        "spec.training.batchSize": 64,
        f"{_D2FT}.slots.full": 1,
    },
    f"{_D2FT}.fullShare": {"spec.method.type": "D2FT", f"{_D2FT}.solver": "TwoStage"},
    _DROP: {"spec.method.type": "DropPEFT"},
    **{
        f"{_DROP}.{field}": {
            "spec.method.type": "DropPEFT",
            f"{_DROP}.configurator": "EpsilonGreedy",
        }
        for field in ("arms", "roundSeconds")
    },
    f"{_DROP}.sharedLayers": {"spec.method.type": "DropPEFT", f"{_DROP}.share": "High"},
    f"{_DROP}.maxDropRate": {
        "spec.method.type": "DropPEFT",
        f"{_DROP}.dropRate": "0",
    },
    **{
        f"{_LORA}.{field}": {f"{_LORA}.{owner}": kind}
        for field, owner, kind in (
            ("edgePercent", "graph", "ErdosRenyi"),
            ("degree", "graph", "Regular"),
            ("edges", "graph", "Edges"),
            ("rhoPercent", "graph", "MeasuredLinks"),
            ("phaseRounds", "mixer", "ADF"),
            ("biasPercent", "mixer", "Auto"),
            ("scheme", "codec", "Int8"),
            ("momentum", "optimizer", "SGD"),
        )
    },
    **{
        f"{member}.robust": {
            "spec.method.type": type_,
            "spec.pools[].peers.replicas": 256,
            "spec.placement.minPeers": 256,
            **more,
        }
        for type_, member, more in (
            ("DropPEFT", _DROP, {}),
            ("DecLoRA", _LORA, {f"{_LORA}.graph": "Complete"}),
        )
    },
    f"{_LORA}.privacy": {f"{_LORA}.mixer": "FFA"},
    **{
        f"spec.method.{member}.privacy.{field}": {
            "spec.method.type": type_,
            f"spec.method.{member}.privacy.{other}": value,
            **more,
        }
        for field, other, value in (
            ("whenSpent", "maxEpsilon", "9"),
            ("maxEpsilon", "noiseMultiplier", "99"),
        )
        for type_, member, more in (
            ("SPSA", "spsa", {}),
            ("DropPEFT", "dropPEFT", {}),
            ("DecLoRA", "decLoRA", {f"{_LORA}.mixer": "FFA"}),
        )
    },
    f"{_LORA}.edges[]": {f"{_LORA}.graph": "Edges", f"{_LORA}.edges": ["0-1"]},
}


def _inside(path: str) -> str:
    return path.replace(_LORA, f"{_D2FT}.gossip")


_IN_D2FT: Final[dict[str, Mapping[str, Any]]] = {
    _inside(path): {
        **{_inside(other): value for other, value in edits.items()},
        "spec.method.type": "D2FT",
    }
    for path, edits in _CONTEXTS.items()
    if path.startswith(_LORA)
}
METHOD_CONTEXTS: Final = {**_CONTEXTS, **_IN_D2FT}
