"""kstatus, as far as custom resources go.

After sigs.k8s.io/cli-utils ``pkg/kstatus/status`` (``GetGenericConditionsFn`` in ``generic.go`` and
``Compute`` in ``status.go``): deletion, then ``observedGeneration``, then ``Reconciling``, then
``Stalled``, then ``Ready``; what has none of them is Current. Flux and ``helm --wait`` go by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kstatus(body: Mapping[str, Any]) -> str:
    """Terminating, InProgress, Failed or Current."""
    meta, status = body["metadata"], body.get("status", {})
    if "deletionTimestamp" in meta:
        return "Terminating"
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    if "Ready" in conditions:
        return "Current" if conditions["Ready"] == "True" else "InProgress"
    return "Current"
