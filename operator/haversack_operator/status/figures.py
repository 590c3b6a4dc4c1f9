"""Figures of a run as the status tells them. Decimals are strings: the API has no floats.

A hub may say anything that is of the right type; what the API would not take is bounded here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from haversack_operator.api.status import (
    AdapterStatus,
    EvaluationStatus,
    JobStatus,
    ProgressStatus,
    ScoresStatus,
    TrafficStatus,
    VerdictStatus,
)
from haversack_trainer.contract.report import (
    Evaluation,
    PeerReport,
    Publication,
    RunProgress,
    Verdict,
)
from haversack_trainer.contract.scores import Kinds

from .times import stamp_of

MAX_COUNT: Final = 2**63 - 1
LONGEST_SECONDS: Final = 10.0**12
"""Whoever says that a run takes longer does not know."""


def figure(value: float | None) -> str | None:
    """Four significant digits; nothing for what is not a number."""
    return None if value is None or not math.isfinite(value) else f"{value:.4g}"


def certain(value: float) -> str:
    """A figure that must be there; ``nan`` and ``inf`` are told as they are."""
    return f"{value:.4g}"


def count(value: int) -> int:
    """A count that the API takes: of 64 bits, and never negative."""
    return min(max(value, 0), MAX_COUNT)


def is_as_written(progress: RunProgress, old: JobStatus) -> bool:
    """Whether the run says nothing that the status does not have already."""
    if old.progress is None:
        return False
    seen = progress_of(progress, old.progress.seen_time), traffic_of(progress.peers)
    return seen == (old.progress, old.traffic)


def progress_of(progress: RunProgress, seen_time: str | None) -> ProgressStatus:
    """How far the run is."""
    closed = count(progress.round)
    rounds = max(count(progress.rounds), closed)
    times = [stamped for report in progress.peers if (stamped := stamp_of(report.time))]
    return ProgressStatus(
        round=closed,
        rounds=rounds,
        percent=100 * closed // rounds if rounds else 0,
        estimated_remaining_seconds=_remaining(progress, rounds - closed),
        last_report_time=max(times, default=None),
        loss=figure(_mean(report.loss for report in progress.peers)),
        remark=_remark(progress),
        epsilon=figure(max(_known(report.epsilon for report in progress.peers), default=None)),
        seen_time=seen_time,
    )


def _remark(progress: RunProgress) -> str | None:
    """All members of a run have decided alike; one that has just come may not know of it."""
    return next((report.remark for report in progress.peers if report.remark), None)


def traffic_of(peers: Iterable[PeerReport]) -> TrafficStatus:
    """Bytes of all peers."""
    reports = tuple(peers)
    return TrafficStatus(
        bytes_sent=count(sum(count(report.bytes_sent) for report in reports)),
        bytes_received=count(sum(count(report.bytes_received) for report in reports)),
    )


def evaluation_of(evaluation: Evaluation) -> EvaluationStatus:
    """Newest held-out figures."""
    return EvaluationStatus(
        loss=certain(evaluation.loss),
        accuracy=figure(evaluation.accuracy),
        round=count(evaluation.round),
    )


def scores_of(found: Kinds, num_peers: int) -> ScoresStatus:
    """What the peers' own models are worth."""
    personal, common = found.personal, found.common.mean
    return ScoresStatus(
        personal_loss=certain(personal.mean.loss),
        personal_accuracy=figure(personal.mean.accuracy),
        worst_personal_loss=certain(personal.worst.loss),
        worst_personal_accuracy=figure(personal.worst.accuracy),
        worst_peer=count(personal.worst_peer),
        mean_loss=certain(common.loss),
        mean_accuracy=figure(common.accuracy),
        peers=count(num_peers),
    )


def verdict_of(verdict: Verdict) -> VerdictStatus:
    """The gate's word."""
    probe = verdict.probe
    return VerdictStatus(
        passed=verdict.passed,
        reason=verdict.reason[:4096],
        loss_before=certain(verdict.before.loss),
        loss_after=certain(verdict.after.loss),
        accuracy_before=figure(verdict.before.accuracy),
        accuracy_after=figure(verdict.after.accuracy),
        probe_accuracy=figure(probe.accuracy) if probe else None,
    )


def adapter_of(published: Publication) -> AdapterStatus:
    """Where the adapter is."""
    return AdapterStatus(
        uri=published.uri[:2048],
        digest=published.digest[:128],
        size_bytes=count(published.size_bytes),
    )


def _remaining(progress: RunProgress, rounds: int) -> int | None:
    paces = (report.seconds_per_round for report in progress.peers)
    pace = _mean(pace for pace in paces if pace is not None and pace >= 0)
    if pace is None:
        return None
    return math.ceil(min(pace * rounds, LONGEST_SECONDS))


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
