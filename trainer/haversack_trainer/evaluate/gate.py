"""The gate: an adapter is published only if it is no worse than what there was before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from haversack_trainer.contract.report import Evaluation, Verdict

from .interval import bootstrap_interval
from .scores import Scores

MAX_UPDATE_RATIO: Final = 10.0
"""An update this many times the norm of the weight that it corrects is no fine-tuning any more."""


def judge(
    *,
    tolerance: float,
    before: Scores,
    after: Scores,
    previous: Scores | None,
    probe: Evaluation | None,
    update_ratios: Mapping[str, float],
    digest: str,
    seed: int,
) -> Verdict:
    """The verdict on the adapter of ``after``.

    It passes if the upper end of the 95 % interval of (new - reference) loss, paired by sample, is at most
    ``tolerance`` for the base model (``before``) and for the adapter published before (``previous``).
    """
    references = {"the base model": before}
    if previous is not None:
        references["the adapter published before"] = previous
    intervals = {
        name: bootstrap_interval(after.losses - reference.losses, seed)
        for name, reference in references.items()
    }
    worst = max(intervals, key=lambda name: _order(intervals[name][1]))
    low, high = intervals[worst]
    fault = _fault(after, update_ratios)
    figures = (
        f"held-out loss {after.evaluation.loss:.4f}, {worst} {references[worst].evaluation.loss:.4f}; "
        f"95 % interval of the difference [{low:.4f}, {high:.4f}], tolerance {tolerance:g}"
    )
    passed = fault is None and high <= tolerance
    word = "No worse than before" if passed else fault or f"Not shown to be as good as {worst}"
    return Verdict(
        passed=passed,
        reason=f"{word}: {figures}.",
        round=after.evaluation.round,
        before=before.evaluation,
        after=after.evaluation,
        probe=probe,
        previous=None if previous is None else previous.evaluation,
        interval=(low, high),
        adapter_digest=digest,
    )


def _fault(after: Scores, update_ratios: Mapping[str, float]) -> str | None:
    """What disqualifies an adapter whatever its mean loss."""
    bad = np.flatnonzero(~np.isfinite(after.losses))
    if len(bad):
        return f"The loss of {len(bad)} of {len(after.losses)} held-out samples is not finite"
    name = max(update_ratios, key=lambda key: _order(update_ratios[key]), default=None)
    if name is not None and not update_ratios[name] <= MAX_UPDATE_RATIO:
        return f"The update of {name} is {update_ratios[name]:.3g} times as large as its weight"
    return None


def _order(value: float) -> float:
    """NaN is worse than anything."""
    return math.inf if math.isnan(value) else value
