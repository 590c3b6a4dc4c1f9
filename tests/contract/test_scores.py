"""Three kinds of scores: from the peers' own words to figures, status and report."""

from __future__ import annotations

import math

import pytest
from operator_builders import SETTINGS, a_progress, a_snapshot, a_verdict
from report_cases import a_job as a_reported_job
from report_cases import some_events

from haversack_operator.api.status import JobStatus
from haversack_operator.reconcile import decide
from haversack_trainer.contract.report import Evaluation, PeerScores, RunProgress
from haversack_trainer.contract.scores import kinds
from haversack_trainer.report.html import render


def found(loss: float, accuracy: float | None, num_samples: int = 10) -> Evaluation:
    return Evaluation(round=6, loss=loss, accuracy=accuracy, num_samples=num_samples)


SCORES = {
    0: PeerScores(personal=found(0.2, 0.9), common=found(0.8, 0.5, 100)),
    1: PeerScores(personal=found(0.6, 0.7, 30), common=found(0.4, 0.7, 100)),
}


def test_each_peer_counts_once_however_many_samples_it_has() -> None:
    both = kinds(SCORES)
    assert both is not None
    assert both.personal.mean.loss == pytest.approx(0.4)
    assert both.personal.mean.accuracy == pytest.approx(0.8)
    assert both.personal.mean.num_samples == 40
    assert (both.personal.worst_peer, both.personal.worst.accuracy) == (1, 0.7)
    assert both.common.mean.loss == pytest.approx(0.6)
    assert both.common.worst_peer == 0


def test_nobody_s_word_is_no_score() -> None:
    assert kinds({}) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_the_worst_and_spoils_the_mean(bad: float) -> None:
    broken = kinds({**SCORES, 2: PeerScores(personal=found(bad, 0.1), common=found(0.1, None))})
    assert broken is not None
    assert broken.personal.worst_peer == 2
    assert not math.isfinite(broken.personal.mean.loss)
    assert broken.common.mean.accuracy is None


def test_the_status_keeps_them_apart() -> None:
    told = a_progress(verdict=a_verdict(), scores=SCORES)
    told = RunProgress.model_validate_json(told.model_dump_json(by_alias=True))
    written = decide(a_snapshot(progress=told), SETTINGS).actions.status
    assert written is not None
    status = JobStatus.model_validate(written).scores
    assert status is not None
    assert (status.personal_loss, status.worst_personal_loss, status.worst_peer) == (
        "0.4",
        "0.6",
        1,
    )
    assert (status.mean_loss, status.mean_accuracy, status.peers) == ("0.6", "0.6", 2)


@pytest.mark.parametrize("loss", [1e308, math.nan, -math.inf])
def test_a_hostile_score_makes_a_status_that_the_api_takes(loss: float) -> None:
    hostile = found(loss, loss, 10**30)
    scores = {peer: PeerScores(personal=hostile, common=hostile) for peer in (0, 1, 10**30)}
    written = decide(a_snapshot(progress=a_progress(scores=scores)), SETTINGS).actions.status
    assert written is not None
    status = JobStatus.model_validate(written).scores
    assert status is not None
    assert status.worst_peer < 2**63


def test_the_report_shows_all_three_and_says_what_they_are() -> None:
    told = RunProgress(run="r", rounds=40, scores=SCORES, verdict=a_verdict())
    page = render(a_reported_job(), told, some_events())
    for row in (
        "personalised: each peer&#x27;s model on its own samples, mean</td><td>0.400 · 80.0%</td>",
        "personalised: the worst peer, 1</td><td>0.600 · 70.0%</td>",
        "consensus: the run&#x27;s adapter on the common samples</td><td>0.700 · 80.0%</td>",
        "mean over peers: each peer&#x27;s model on the common samples</td><td>0.600 · 60.0%</td>",
    ):
        assert row in page
    silent = render(a_reported_job(), told.model_copy(update={"scores": {}}), some_events())
    assert "ersonalised" not in silent
