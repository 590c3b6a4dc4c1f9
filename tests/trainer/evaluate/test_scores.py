"""Held-out losses, the linear probe, and the bytes that were judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from haversack_trainer.contract.report import Evaluation
from haversack_trainer.data import Samples
from haversack_trainer.evaluate import EvaluateError, Scores, check_reload, evaluate, probe
from haversack_trainer.model import FineTuned, load_model


def held_out() -> Samples:
    samples = tiny_models.texts()
    return samples.take(np.arange(0, len(samples), 3))


def training() -> Samples:
    samples = tiny_models.texts()
    return samples.take(np.setdiff1d(np.arange(len(samples)), np.arange(0, len(samples), 3)))


def test_scores_do_not_depend_on_how_they_are_batched(classifier: FineTuned) -> None:
    classifier.train()
    one = evaluate(classifier, held_out(), batch_size=1, round=4)
    many = evaluate(classifier, held_out(), batch_size=7, round=4)
    assert classifier.is_training
    np.testing.assert_allclose(one.losses, many.losses, atol=1e-4)
    assert many.evaluation.num_samples == len(many.losses) == len(held_out())
    assert many.evaluation.loss == pytest.approx(many.losses.mean())
    assert many.evaluation.round == 4
    assert many.evaluation.accuracy is not None
    # With two classes a hit is a loss below log 2.
    assert many.evaluation.accuracy == pytest.approx((many.losses < np.log(2)).mean())


def test_a_language_model_has_no_accuracy_and_no_probe(
    classifier: FineTuned, tmp_path: Path
) -> None:
    folder = tiny_models.bert(tmp_path)
    model = load_model(tiny_models.job(folder, "MaskedLM"), folder, ())
    scores = evaluate(model, held_out(), 8, round=1)
    assert scores.evaluation.accuracy is None
    assert np.isfinite(scores.losses).all()
    assert probe(model, training(), held_out(), seed=1) is None


def test_the_probe_learns_from_features_of_the_base_alone(classifier: FineTuned) -> None:
    base = evaluate(classifier, held_out(), 8, round=0).evaluation
    result = probe(classifier, training(), held_out(), seed=1)
    assert result is not None
    assert base.accuracy is not None
    assert result.accuracy is not None
    assert result.accuracy > max(base.accuracy, 0.6)
    state = classifier.trainable_state()
    classifier.load_trainable_state({name: value + 1 for name, value in state.items()})
    again = probe(classifier, training(), held_out(), seed=1)
    classifier.load_trainable_state(state)
    assert again == result


def test_published_bytes_that_differ_from_the_judged_are_refused(
    classifier: FineTuned, tmp_path: Path
) -> None:
    judged = evaluate(classifier, held_out(), 8, round=3)
    classifier.save_adapter(tmp_path)
    check_reload(classifier, tmp_path, held_out(), 8, judged)
    state = classifier.trainable_state()
    generator = torch.Generator().manual_seed(1)
    classifier.load_trainable_state(
        {n: v + torch.randn(v.shape, generator=generator) for n, v in state.items()}
    )
    classifier.save_adapter(tmp_path)
    classifier.load_trainable_state(state)
    with pytest.raises(EvaluateError, match="is not published"):
        check_reload(classifier, tmp_path, held_out(), 8, judged)


def test_a_judged_loss_that_is_no_number_matches_nothing(
    classifier: FineTuned, tmp_path: Path
) -> None:
    classifier.save_adapter(tmp_path)
    nan = Evaluation(round=1, loss=float("nan"), num_samples=len(held_out()))
    judged = Scores(nan, np.full(len(held_out()), np.nan))
    with pytest.raises(EvaluateError, match="nan was judged"):
        check_reload(classifier, tmp_path, held_out(), 8, judged)
