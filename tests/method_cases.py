"""Cases of the methods and their settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Final

from job_cases import Case

METHOD_CASES: Final = (
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
            f"learningRate: {card}",
        )
        for card, member in (("DecLoRA", "decLoRA"), ("SPSA", "spsa"))
    ),
    Case(
        "edgePercent of a ring",
        {"spec.method.decLoRA": {"graph": "ErdosRenyi", "edgePercent": 30}},
        {"spec.method.decLoRA": {"edgePercent": 30}},
        "edgePercent: goes with",
    ),
)
