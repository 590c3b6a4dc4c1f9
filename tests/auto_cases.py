"""Rules of ``spec.method.auto``, and what goes with type Auto."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case


def _auto(**settings: Any) -> dict[str, Any]:
    return {"spec.method": {"type": "Auto", "auto": settings}}


AUTO_CASES: Final = (
    Case(
        "a line that carries nothing",
        _auto(bandwidthMbps="0.001"),
        _auto(bandwidthMbps="0"),
        "bandwidthMbps: nothing goes over such a line",
    ),
    Case(
        "a step that takes no time",
        _auto(stepSeconds="0.01"),
        _auto(stepSeconds="0.0"),
        "stepSeconds: no step takes no time",
    ),
    Case(
        "a latency without a bandwidth",
        _auto(latencyMilliseconds="20", bandwidthMbps="100"),
        _auto(latencyMilliseconds="20"),
        "latencyMilliseconds: says little without bandwidthMbps",
    ),
    Case(
        "figures for a method that is named",
        {"spec.method": {"type": "Auto", "auto": {}}},
        {"spec.method": {"type": "DecLoRA", "auto": {}}},
        "auto",
    ),
    Case(
        "a method's settings while the method is open",
        {"spec.method": {"type": "Auto"}},
        {"spec.method": {"type": "Auto", "spsa": {}}},
        "spsa",
    ),
    Case(
        "processes while the method is open",
        {"spec.method": {"type": "Auto"}},
        {"spec.method": {"type": "Auto"}, "spec.pools[].processes": 2},
        "pools: several processes share a model out",
    ),
)
