"""When a status is worth a write, and the plan's rows that go with it."""

from __future__ import annotations

import math
from typing import Final

from haversack_operator.api.job import MAX_PEERS
from haversack_operator.api.plan import PeerRow, PlanStatus
from haversack_operator.api.status import JobStatus, ProgressStatus
from haversack_trainer.contract.report import PeerReport, RunProgress

from .figures import count, figure
from .times import parse, stamp_of

LEAST_SECONDS: Final = 10.0
"""Between two writes of nothing but progress."""
_VOLATILE: Final = {"progress", "traffic"}


def worth_writing(old: JobStatus, new: JobStatus, period_seconds: float) -> bool:
    """True if anything but progress changed, or progress by a percent, or it is old enough."""
    if old.model_dump(exclude=_VOLATILE) != new.model_dump(exclude=_VOLATILE):
        return True
    if old.progress is None or new.progress is None or old.progress == new.progress:
        return old.progress != new.progress
    if old.progress.percent != new.progress.percent:
        return True
    return _age(old.progress, new.progress) >= max(LEAST_SECONDS, period_seconds)


def plan_rows(progress: RunProgress) -> PlanStatus:
    """The peers' newest reports, of peers that there can be, each once."""
    known = {report.peer: report for report in progress.peers if 0 <= report.peer < MAX_PEERS}
    return PlanStatus(peers=[_row(report) for report in known.values()])


def _row(report: PeerReport) -> PeerRow:
    return PeerRow(
        peer=report.peer,
        state=report.state,
        round=count(report.round),
        loss=figure(report.loss),
        bytes_sent=count(report.bytes_sent),
        last_report_time=stamp_of(report.time),
    )


def _age(old: ProgressStatus, new: ProgressStatus) -> float:
    """By the operator's own clock, whichever way it was set."""
    if old.seen_time is None or new.seen_time is None:
        return math.inf
    return abs((parse(new.seen_time) - parse(old.seen_time)).total_seconds())
