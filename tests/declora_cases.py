"""Cases of Dec-LoRA's settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case

_CHANGING: Final[tuple[dict[str, Any], ...]] = ({"graph": "Matchings"}, {"maxStaleness": 2})

DECLORA_CASES: Final = (
    *(
        Case(
            f"{field} of {fewer or 'the default'}",
            {"spec.method.decLoRA": {**owner, field: value}},
            {"spec.method.decLoRA": {**fewer, field: value}},
            f"{field}: goes with",
        )
        for field, value, owner, fewer in (
            ("edgePercent", 30, {"graph": "ErdosRenyi"}, {}),
            ("degree", 3, {"graph": "Regular"}, {"graph": "Ring"}),
            ("edges", ["0-1"], {"graph": "Edges"}, {}),
            ("rhoPercent", 60, {"graph": "MeasuredLinks"}, {}),
            ("phaseRounds", 3, {"mixer": "ADF"}, {"mixer": "DeCAF"}),
            ("phaseRounds", 3, {"mixer": "Auto"}, {}),
            ("biasPercent", 3, {"mixer": "Auto"}, {"mixer": "ADF"}),
            ("scheme", "CHOCO", {"codec": "Int4"}, {}),
        )
    ),
    Case(
        "momentum of AdamW",
        {"spec.method.decLoRA": {"optimizer": "SGD", "momentum": "0.5"}},
        {"spec.method.decLoRA": {"momentum": "0.5"}},
        "momentum: goes with optimizer",
    ),
    Case(
        "momentum that never ends",
        {"spec.method.decLoRA": {"optimizer": "QuasiGlobal", "momentum": "0.99"}},
        {"spec.method.decLoRA": {"optimizer": "QuasiGlobal", "momentum": "1"}},
        "momentum: is what is left",
    ),
    Case(
        "momentum of the mixed state without any",
        {"spec.method.decLoRA": {"optimizer": "SGD", "momentum": "0"}},
        {"spec.method.decLoRA": {"optimizer": "QuasiGlobal", "momentum": "0.0"}},
        "momentum: without any",
    ),
    *(
        Case(
            f"momentum of the mixed state with {mixer}",
            {"spec.method.decLoRA": {"optimizer": "SGD", "mixer": mixer}},
            {"spec.method.decLoRA": {"optimizer": "QuasiGlobal", "mixer": mixer}},
            "optimizer: QuasiGlobal follows",
        )
        for mixer in ("DeCAF", "FedRot", "Auto")
    ),
    Case(
        "graph Edges without edges",
        {"spec.method.decLoRA": {"graph": "Edges", "edges": ["1-0"]}},
        {"spec.method.decLoRA": {"graph": "Edges"}},
        "edges: goes with",
    ),
    *(
        Case(
            f"CHOCO with {mixer}",
            {"spec.method.decLoRA": {"mixer": mixer, "codec": "Int8", "scheme": "Difference"}},
            {"spec.method.decLoRA": {"mixer": mixer, "codec": "Int8", "scheme": "CHOCO"}},
            "scheme: CHOCO sends changes",
        )
        for mixer in ("DeCAF", "FedRot")
    ),
    *(
        Case(
            f"CHOCO with neighbours that change by {next(iter(changing))}",
            {"spec.method.decLoRA": {**changing, "codec": "Int8", "scheme": "Difference"}},
            {"spec.method.decLoRA": {**changing, "codec": "Int8", "scheme": "CHOCO"}},
            "scheme: CHOCO builds on",
        )
        for changing in _CHANGING
    ),
    *(
        Case(
            f"late states with {mixer}",
            {"spec.method.decLoRA": {"mixer": "ADF", "maxStaleness": 2}},
            {"spec.method.decLoRA": {"mixer": mixer, "maxStaleness": 2}},
            "maxStaleness: a state that has moved on",
        )
        for mixer in ("DeCAF", "FedRot")
    ),
    *(
        Case(
            f"push-sum with {next(iter(other))}",
            {"spec.method.decLoRA": {"weights": "PushSum", "mixer": "ADF"}},
            {"spec.method.decLoRA": {"weights": "PushSum", **other}},
            "weights: PushSum keeps account",
        )
        for other in ({"mixer": "DeCAF"}, {"codec": "Int8"}, {"maxStaleness": 1})
    ),
)
