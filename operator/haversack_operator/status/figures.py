"""Figures of a run as the status tells them. Decimals are strings: the API has no floats."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from haversack_operator.api.status import (
    AdapterStatus,
    EvaluationStatus,
    JobStatus,
    ProgressStatus,
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

from .times import stamp


def figure(value: float | None) -> str | None:
    """Four significant digits; nothing for what is not a number."""
    return None if value is None or not math.isfinite(value) else f"{value:.4g}"


def certain(value: float) -> str:
    """A figure that must be there; ``nan`` and ``inf`` are told as they are."""
    return f"{value:.4g}"


def is_as_written(progress: RunProgress, old: JobStatus) -> bool:
    """Whether the run says nothing that the status does not have already."""
    if old.progress is None:
        return False
    seen = progress_of(progress, old.progress.seen_time), traffic_of(progress.peers)
    return seen == (old.progress, old.traffic)


def progress_of(progress: RunProgress, seen_time: str | None) -> ProgressStatus:
    """How far the run is."""
    rounds = max(progress.rounds, progress.round)
    newest = max((report.time for report in progress.peers), default=0.0)
    return ProgressStatus(
        round=progress.round,
        rounds=rounds,
        percent=100 * progress.round // rounds if rounds else 0,
        estimated_remaining_seconds=_remaining(progress, rounds),
        last_report_time=stamp(datetime.fromtimestamp(newest, UTC)) if newest > 0 else None,
        loss=figure(_mean(report.loss for report in progress.peers)),
        seen_time=seen_time,
    )


def traffic_of(peers: Iterable[PeerReport]) -> TrafficStatus:
    """Bytes of all peers."""
    reports = tuple(peers)
    return TrafficStatus(
        bytes_sent=sum(report.bytes_sent for report in reports),
        bytes_received=sum(report.bytes_received for report in reports),
    )


def evaluation_of(evaluation: Evaluation) -> EvaluationStatus:
    """Newest held-out figures."""
    return EvaluationStatus(
        loss=certain(evaluation.loss),
        accuracy=figure(evaluation.accuracy),
        round=evaluation.round,
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
        uri=published.uri, digest=published.digest, size_bytes=published.size_bytes
    )


def _remaining(progress: RunProgress, rounds: int) -> int | None:
    pace = _mean(report.seconds_per_round for report in progress.peers)
    return None if pace is None else math.ceil(pace * (rounds - progress.round))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
