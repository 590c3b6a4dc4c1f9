"""Whatever a hub says, a pass comes to an end, and to a status that the API takes."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_builders import NOW, SETTINGS, a_job, a_progress, a_snapshot

from haversack_operator.api.plan import PlanStatus
from haversack_operator.api.status import JobStatus
from haversack_operator.reconcile import decide
from haversack_trainer.contract.report import PeerReport, PeerState, RunProgress

INT64 = 2**63 - 1


def reported(**one: Any) -> RunProgress:
    first, second = a_progress().peers
    return a_progress(peers=(first, second.model_copy(update=one)))


def check(progress: RunProgress) -> None:
    actions = decide(a_snapshot(progress=progress), SETTINGS).actions
    assert actions.status is not None
    status = JobStatus.model_validate(actions.status)
    assert status.progress is not None
    assert status.traffic is not None
    figures = status.progress.model_dump().values(), status.traffic.model_dump().values()
    assert all(abs(each) <= INT64 for some in figures for each in some if isinstance(each, int))
    if actions.plan_status is not None:
        rows = PlanStatus.model_validate(actions.plan_status[1]).peers
        assert len({row.peer for row in rows}) == len(rows)
    again = a_snapshot(a_job(status=dict(actions.status)), progress=progress)
    decide(again, SETTINGS)


@pytest.mark.parametrize(
    "one",
    [
        {"time": 1e12},
        {"time": math.inf},
        {"time": math.nan},
        {"time": -1e12},
        {"bytes_sent": -(10**6)},
        {"bytes_sent": 10**30},
        {"round": -5},
        {"round": 10**30},
        {"peer": 70_000},
        {"peer": 0},
        {"seconds_per_round": 1e300},
        {"seconds_per_round": -1e9},
        {"loss": 1e308},
    ],
    ids=str,
)
def test_one_bad_report_does_not_stop_the_passes(one: dict[str, Any]) -> None:
    check(reported(**one))


def test_a_report_from_the_future_is_not_the_newest_word() -> None:
    """A time that cannot be is no time; what others said stands."""
    actions = decide(a_snapshot(progress=reported(time=1e12)), SETTINGS).actions
    assert actions.status is not None
    assert actions.status["progress"]["lastReportTime"] == "2026-09-01T12:00:00Z"
    ahead = (NOW + timedelta(hours=2)).timestamp()
    told = decide(a_snapshot(progress=reported(time=ahead)), SETTINGS).actions
    assert told.status is not None
    assert told.status["progress"]["lastReportTime"] == "2026-09-01T14:00:00Z"


# Built without the bounds that the hub holds them to.
REPORTS = st.builds(
    PeerReport.model_construct,
    peer=st.integers(),
    attempt=st.integers(),
    node=st.text(),
    state=st.sampled_from(PeerState),
    round=st.integers(),
    loss=st.none() | st.floats(),
    samples=st.integers(),
    nonfinite_steps=st.integers(),
    micro_batch_size=st.integers(),
    bytes_sent=st.integers(),
    bytes_received=st.integers(),
    seconds_per_round=st.none() | st.floats(),
    time=st.floats(),
)
RUNS = st.builds(RunProgress, run=st.just(a_job().run) | st.text(), peers=st.just(()))


@given(RUNS, st.lists(REPORTS, max_size=3))
def test_no_progress_that_is_of_the_right_types_stops_the_passes(
    progress: RunProgress, reports: list[PeerReport]
) -> None:
    check(progress.model_copy(update={"peers": tuple(reports)}))
