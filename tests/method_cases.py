"""Cases of the methods and their settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from declora_cases import DECLORA_CASES
from job_cases import Case
from privacy_cases import PRIVACY_CASES
from robust_cases import ROBUST_CASES
from spsa_cases import SPSA_CASES


def _flex_case(field: str, accepted: Any, rejected: Any, says: str) -> Case:
    job = {"type": "FlexDeMo"}
    return Case(
        f"FlexDeMo: {field} {says}, {rejected}",
        {"spec.method": {**job, "flexDeMo": accepted}},
        {"spec.method": {**job, "flexDeMo": rejected}},
        f"{field}: {says}",
    )


def _random(**settings: Any) -> dict[str, Any]:
    return {"scheme": "Random", **settings}


_BANDIT: Final[dict[str, Any]] = {"configurator": "DiscountedUCB"}

METHOD_CASES: Final = (
    Case(
        "nothing to send from pod to pod",
        {"spec.network.bulk": "Direct", "spec.method.type": "DecLoRA"},
        {"spec.network.bulk": "Direct", "spec.method.type": "SPSA"},
        "network.bulk: SPSA sends nothing beside the log",
    ),
    Case(
        "SPSA with dropout",
        {"spec.method.type": "SPSA", "spec.adapter.lora.dropout": "0.00"},
        {"spec.method.type": "SPSA", "spec.adapter.lora.dropout": "0.05"},
        "adapter.lora.dropout: SPSA",
    ),
    Case(
        "another method's member",
        {"spec.method.decLoRA": {}},
        {"spec.method.spsa": {}},
        "spsa",
    ),
    Case(
        "another method's member, the other way",
        {"spec.method": {"type": "SPSA", "spsa": {"directions": 2}}},
        {"spec.method": {"type": "SPSA", "decLoRA": {}}},
        "decLoRA",
    ),
    *(
        Case(
            f"{card} learns nothing",
            {"spec.method": {"type": card, member: {"learningRate": "0.0000000001"}}},
            {"spec.method": {"type": card, member: {"learningRate": "0.0"}}},
            "learningRate: nothing is learned at 0",
        )
        for card, member in (
            ("DecLoRA", "decLoRA"),
            ("DropPEFT", "dropPEFT"),
            ("FlexDeMo", "flexDeMo"),
            ("SPSA", "spsa"),
        )
    ),
    Case(
        "a drop rate above its cap",
        {
            "spec.method": {
                "type": "DropPEFT",
                "dropPEFT": {"dropRate": "0.6", "maxDropRate": "0.6"},
            }
        },
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"dropRate": "0.96"}}},
        "dropRate: is above maxDropRate",
    ),
    Case(
        "an arm above the cap",
        {"spec.method": {"type": "DropPEFT", "dropPEFT": _BANDIT | {"arms": ["0", "0.95"]}}},
        {"spec.method": {"type": "DropPEFT", "dropPEFT": _BANDIT | {"arms": ["0", "0.96"]}}},
        "arms: one is above maxDropRate",
    ),
    *(
        Case(
            f"{field} without a configurator",
            {"spec.method": {"type": "DropPEFT", "dropPEFT": _BANDIT | {field: value}}},
            {"spec.method": {"type": "DropPEFT", "dropPEFT": {field: value}}},
            f"{field}: goes with a configurator",
        )
        for field, value in (("arms", ["0.5"]), ("roundSeconds", 60))
    ),
    *(
        Case(
            f"{field} is a share",
            {"spec.method": {"type": "DropPEFT", "dropPEFT": {field: "1"}}},
            {"spec.method": {"type": "DropPEFT", "dropPEFT": {field: value}}},
            f"{field}: is a share",
        )
        for field in (
            "exploration",
            "explorationDecay",
            "leastExploration",
            "discount",
            "maxShareChange",
        )
        for value in ("0", "1.01")
    ),
    Case(
        "sharedLayers where all are shared",
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"share": "Low", "sharedLayers": 3}}},
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"sharedLayers": 3}}},
        "sharedLayers: goes with share",
    ),
    Case(
        "importance that never learns",
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"importanceMemory": "0.99"}}},
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"importanceMemory": "1"}}},
        "importanceMemory: nothing new",
    ),
    Case(
        "a layer that is always dropped",
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"maxDropRate": "0.99"}}},
        {"spec.method": {"type": "DropPEFT", "dropPEFT": {"maxDropRate": "1.0"}}},
        "maxDropRate: a layer that is always dropped",
    ),
    *DECLORA_CASES,
    *(
        _flex_case(
            field, {"scheme": scheme, field: accepted}, {"scheme": other, field: accepted}, "goes"
        )
        for field, accepted, scheme, other in (
            ("chunk", 32, "DeMo", "Random"),
            ("topK", 2, "DeMo", "Full"),
            ("meanMode", "All", "DeMo", "Striding"),
            ("rate", "0.5", "Striding", "DeMo"),
            ("beta", "0.99", "Random", "Full"),
            ("alpha", "0.2", "DeMo", "DiLoCo"),
            ("update", "AdamW", "Full", "DiLoCo"),
            ("syncEvery", 20, "DiLoCo", "DeMo"),
            ("outerLearningRate", "0.5", "DiLoCo", "Full"),
            ("outerMomentum", "0.5", "DiLoCo", "Random"),
        )
    ),
    _flex_case("alpha", {"scheme": "Random", "alpha": "0"}, {"alpha": "0.0"}, "at 0 DeMo"),
    *(
        _flex_case(
            "outerLearningRate",
            {"scheme": "DiLoCo", "outerLearningRate": "0.0001"},
            {"scheme": "DiLoCo", "outerLearningRate": zero},
            "nothing is learned",
        )
        for zero in ("0", "0.00")
    ),
    _flex_case("topK", {"topK": 31}, {"topK": 32}, "half of the chunk"),
    _flex_case("topK", {"chunk": 16}, {"chunk": 16, "topK": 8}, "half of the chunk"),
    _flex_case("chunk", {"chunk": 128}, {"chunk": 100}, "is no power of two"),
    _flex_case("rate", _random(rate="1"), _random(rate="1.01"), "is a share"),
    _flex_case("rate", _random(rate="0.001"), _random(rate="0.0"), "is a share"),
    _flex_case("beta", {"beta": "0.9999"}, {"beta": "1.0"}, "momentum that never decays"),
    _flex_case("alpha", {"alpha": "1.0"}, {"alpha": "1.1"}, "is the share of what was sent"),
    _flex_case(
        "outerMomentum",
        {"scheme": "DiLoCo", "outerMomentum": "0.99"},
        {"scheme": "DiLoCo", "outerMomentum": "1"},
        "momentum that never decays",
    ),
    _flex_case("delay", {"delay": 1}, {"delay": 1, "scheme": "DiLoCo"}, "DiLoCo's exchanges"),
    _flex_case("delay", {"scheme": "Auto"}, {"delay": 1, "scheme": "Auto"}, "scheme Auto"),
    _flex_case(
        "update",
        {"update": "Identity"},
        {"update": "Identity", "scheme": "Auto"},
        "Identity's learning rate",
    ),
    _flex_case(
        "topK", {"update": "AdamW", "scheme": "Auto"}, {"topK": 4, "scheme": "Auto"}, "goes"
    ),
    _flex_case(
        "precision",
        {"precision": "BF16", "sharding": "FSDP2"},
        {"precision": "BF16"},
        "BF16 goes with",
    ),
    *SPSA_CASES,
    *PRIVACY_CASES,
    *ROBUST_CASES,
)
