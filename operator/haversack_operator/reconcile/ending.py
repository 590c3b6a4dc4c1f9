"""Is the job over, and how? Pure."""

from __future__ import annotations

from haversack_operator import status
from haversack_operator.api.status import JobStatus
from haversack_operator.elasticity import Review
from haversack_operator.snapshot import Job, Snapshot
from haversack_operator.status import Ending
from haversack_trainer.contract.report import RunProgress


def ending_of(
    job: Job, snapshot: Snapshot, written: JobStatus, review: Review | None
) -> Ending | None:
    """How the job ended, or None if it has not; the run's own word comes first."""
    return (
        _by_run(snapshot.progress)
        or (_by_pods(job, written, review) if review is not None else None)
        or _by_clock(job, snapshot, written)
    )


def _by_run(progress: RunProgress | None) -> Ending | None:
    if progress is None:
        return None
    if progress.published is not None:
        where = progress.published.uri
        return Ending(complete=True, reason="AdapterPublished", message=f"published at {where}")
    if progress.verdict is not None and not progress.verdict.passed:
        why = f"nothing is published: {progress.verdict.reason}"
        return Ending(complete=False, reason="GateFailed", message=why)
    return None


def _by_pods(job: Job, written: JobStatus, review: Review) -> Ending | None:
    if review.bad_job is not None:
        return Ending(complete=False, reason="BadJob", message=review.bad_job)
    limit = job.spec.failure_policy.max_replacements
    if review.counted and written.replacements + len(review.counted) > limit:
        last = review.counted[-1].pod
        said = last.message or f"exit code {last.exit_code}"
        return Ending(
            complete=False,
            reason="TooManyReplacements",
            message=f"more than {limit} peers had to be replaced "
            f"(spec.failurePolicy.maxReplacements); the last, {last.name}: {said}",
        )
    return None


def _by_clock(job: Job, snapshot: Snapshot, written: JobStatus) -> Ending | None:
    limit = job.spec.active_deadline_seconds
    if limit is None or status.active_seconds(written, snapshot.now) < limit:
        return None
    why = f"the job ran for {limit} seconds (spec.activeDeadlineSeconds)"
    return Ending(complete=False, reason="DeadlineExceeded", message=why)
