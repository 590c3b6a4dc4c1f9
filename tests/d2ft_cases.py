"""Cases of D2FT's settings, those of Dec-LoRA's that it has inside among them; see ``job_cases``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from job_cases import Case
from method_cases import METHOD_CASES


def _d2ft(**settings: Any) -> dict[str, Any]:
    return {"spec.method": {"type": "D2FT", "d2FT": settings}}


def _slots(full: int, forward_only: int, **more: Any) -> dict[str, Any]:
    return {"solver": "Slots", "slots": {"full": full, "forwardOnly": forward_only}, **more}


def _inside_d2ft(edits: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same edits with Dec-LoRA's settings as D2FT's gossip; None if they are of something else."""
    match dict(edits):
        case {"spec.method.decLoRA": settings, **others}:
            pass
        case {"spec.method": {"type": "DecLoRA", "decLoRA": settings}, **others}:
            pass
        case _:
            return None
    if any(path.startswith("spec.method") or path == "spec.network.bulk" for path in others):
        return None
    return {**_d2ft(gossip=settings), **others}


def _inside() -> Iterator[Case]:
    for case in METHOD_CASES:
        accepted, rejected = _inside_d2ft(case.accepted), _inside_d2ft(case.rejected)
        if accepted is not None and rejected is not None:
            yield Case(f"D2FT's gossip: {case.name}", accepted, rejected, f"gossip.{case.says}")


_RULES: Final[tuple[tuple[str, dict[str, Any], dict[str, Any], str], ...]] = (
    ("slots without their solver", _slots(1, 0), {"slots": {}}, "slots: goes with"),
    ("solver Slots without slots", _slots(5, 0), {"solver": "Slots"}, "slots: goes with"),
    ("too many slots", _slots(3, 2), _slots(3, 3), "slots: are more than microBatches"),
    (
        "protected layers that slots skip",
        _slots(1, 4, protect="First"),
        _slots(1, 3, protect="First"),
        "protect: slots that skip",
    ),
    ("a budget for slots", {"budget": "0.5"}, _slots(3, 0, budget="0.5"), "budget: goes with"),
    ("devices for slots", {"devices": [2, 1]}, _slots(3, 0, devices=[2, 1]), "devices: goes with"),
    (
        "a share for full without two stages",
        {"solver": "TwoStage", "fullShare": "0.5"},
        {"fullShare": "0.5"},
        "fullShare: goes with",
    ),
    (
        "rho given and measured",
        {"measureRho": True},
        {"measureRho": True, "rho": "0.5"},
        "rho is given",
    ),
    (
        "scores that never change",
        {"scoreMemory": "0.99"},
        {"scoreMemory": "1"},
        "scoreMemory: nothing",
    ),
    *(
        (
            f"{field} of {value}",
            {**more, field: "1"},
            {**more, field: value},
            f"{field}: is a share",
        )
        for field, more in (
            ("budget", {}),
            ("rho", {}),
            ("fullShare", {"solver": "TwoStage"}),
        )
        for value in ("0", "1.01")
    ),
)

D2FT_CASES: Final = (
    Case(
        "D2FT: fewer samples than pieces",
        {**_d2ft(microBatches=8), "spec.training.batchSize": 8},
        {**_d2ft(microBatches=9), "spec.training.batchSize": 8},
        "method.d2FT.microBatches: a step's batch has fewer samples",
    ),
    Case(
        "D2FT: fewer samples than pieces by default",
        {"spec.method": {"type": "D2FT"}, "spec.training.batchSize": 5},
        {"spec.method": {"type": "D2FT"}, "spec.training.batchSize": 4},
        "method.d2FT.microBatches: a step's batch has fewer samples",
    ),
    Case(
        "D2FT: masks over several processes",
        {**_d2ft(sharding="Groups"), "spec.pools[].processes": 2},
        {**_d2ft(sharding="Groups", mode="Emulate"), "spec.pools[].processes": 2},
        "mode: Emulate masks groups",
    ),
    *(
        Case(f"D2FT: {title}", _d2ft(**good), _d2ft(**bad), says)
        for title, good, bad, says in _RULES
    ),
    *_inside(),
)
