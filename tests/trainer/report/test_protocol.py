"""What a report owes whoever compares runs: best and last round, steps and samples, bytes by formula, who was refused."""

from __future__ import annotations

from report_cases import a_job, a_progress, an_evaluation

from haversack_trainer.contract.report import MODELLED
from haversack_trainer.report.events import Evaluated, RoundClosed
from haversack_trainer.report.html import render
from haversack_trainer.report.story import best_and_last
from haversack_trainer.report.units import size


def test_best_and_last_round_are_told_of_loss_and_accuracy() -> None:
    scores = [(5, 0.9, 0.5), (10, 0.6, 0.75), (15, 0.6, 0.8), (20, 0.7, 0.7)]
    events = [Evaluated(time=float(r), evaluation=an_evaluation(r, *found)) for r, *found in scores]
    page = render(a_job(), a_progress(), events)
    assert "Held-out loss: 0.6000 after round 10 at best, 0.7000 after round 20 at last." in page
    assert "Accuracy: 80.0% after round 15 at best, 70.0% after round 20 at last." in page
    assert best_and_last([], most=True) is None


def test_without_classes_there_is_no_accuracy() -> None:
    events = [Evaluated(time=1.0, evaluation=an_evaluation(5, 0.9, None))]
    page = render(a_job(), a_progress(), events)
    assert "Held-out loss: 0.9000 after round 5 at best" in page
    assert "Accuracy: " not in page


def test_bytes_by_the_formula_stand_beside_those_that_were_sent() -> None:
    closed = [
        RoundClosed(time=1.0, round=r, members=(0,), payload_bytes=1100, metrics={MODELLED: 1000.0})
        for r in range(2)
    ]
    told = f"all peers together. By the method's formula, of the numbers alone: {size(2000)}."
    assert told in render(a_job(), a_progress(), closed)
    silent = [each.model_copy(update={"metrics": {}}) for each in closed]
    assert "formula" not in render(a_job(), a_progress(), silent)


def test_steps_and_samples_are_counted_and_refusals_named() -> None:
    first, second, *others = a_progress().peers
    peers = (
        first.model_copy(update={"steps": 1234, "refused": {2: 3, 3: 1}}),
        second.model_copy(update={"refused": {2: 5}}),
        *others,
    )
    page = render(a_job(), a_progress().model_copy(update={"peers": peers}), [])
    assert "<td>1,234</td><td>6,400</td>" in page
    assert (
        "What it sent was unsound and did not count: peer 2 in 5 rounds, peer 3 in 1 round." in page
    )
    assert "unsound" not in render(a_job(), a_progress(), [])
