"""Cases of robust averages in the methods' settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case


def _job(settings: dict[str, Any]) -> dict[str, Any]:
    method = {"type": "DecLoRA", "decLoRA": settings}
    return {
        "spec.method": method,
        "spec.pools[].peers.replicas": 3,
        "spec.placement.minPeers": 3,
    }


ROBUST_CASES: Final = tuple(
    Case(
        f"a robust average with {field} {bad}",
        _job({field: good, "robust": {}}),
        _job({field: bad, "robust": {}}),
        "robust: averages tensors",
    )
    for field, bad, good in (
        ("mixer", "DeCAF", "ADF"),
        ("mixer", "FedRot", "FFA"),
        ("mixer", "Auto", "Factor"),
        ("weights", "Samples", "Metropolis"),
        ("weights", "Laplacian", "Metropolis"),
        ("graph", "ErdosRenyi", "Complete"),
        ("graph", "MeasuredLinks", "Ring"),
    )
)
