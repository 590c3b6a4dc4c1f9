"""The gate's verdict from losses alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haversack_trainer.contract.report import Evaluation, Verdict
from haversack_trainer.evaluate import Scores, bootstrap_interval, judge

RNG = np.random.default_rng(0)
HARD = RNG.gamma(2.0, 1.0, 500)
"""Losses that vary much more from sample to sample than any two adapters differ."""


def scores(losses: NDArray[np.float64], round: int = 0) -> Scores:
    loss = float(losses.mean())
    return Scores(Evaluation(round=round, loss=loss, num_samples=len(losses)), losses)


def verdict(
    after: NDArray[np.float64],
    previous: NDArray[np.float64] | None = None,
    tolerance: float = 0.0,
    update_ratios: Mapping[str, float] | None = None,
) -> Verdict:
    return judge(
        tolerance=tolerance,
        before=scores(HARD),
        after=scores(after, round=20),
        previous=None if previous is None else scores(previous, round=20),
        probe=None,
        update_ratios={"layer": 0.1} if update_ratios is None else update_ratios,
        digest="abc",
        seed=1,
    )


def noise(mean: float, spread: float = 0.05) -> NDArray[np.float64]:
    return HARD + mean + RNG.normal(0, spread, len(HARD))


def test_a_better_adapter_passes_and_says_with_which_figures() -> None:
    result = verdict(noise(-0.1))
    assert result.passed
    assert result.adapter_digest == "abc"
    assert result.round == 20
    assert result.interval[1] < 0
    assert result.reason.startswith("No worse than before: held-out loss ")
    assert f"the base model {HARD.mean():.4f}" in result.reason
    assert result.reason.endswith("tolerance 0.")


@pytest.mark.parametrize(
    ("mean", "tolerance", "passes"),
    [(0.1, 0.0, False), (0.1, 0.2, True), (0.1, 0.05, False), (0.0, 0.0, False), (0.0, 0.01, True)],
)
def test_the_upper_end_of_the_interval_decides(mean: float, tolerance: float, passes: bool) -> None:
    result = verdict(noise(mean), tolerance=tolerance)
    assert result.passed is passes
    assert result.passed == (result.interval[1] <= tolerance)
    assert result.reason.startswith("No worse") is passes


def test_the_adapter_published_before_must_be_matched_too() -> None:
    result = verdict(noise(-0.1), previous=noise(-0.3))
    assert not result.passed
    assert result.reason.startswith("Not shown to be as good as the adapter published before")
    assert result.interval[0] > 0.1
    assert result.previous is not None
    assert verdict(noise(-0.3), previous=noise(-0.1)).passed


def test_a_gain_that_is_within_the_noise_does_not_pass() -> None:
    assert not verdict(noise(-0.01, spread=1.0)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_fails_whatever_the_tolerance(value: float) -> None:
    losses = noise(-1.0)
    losses[7] = value
    result = verdict(losses, tolerance=1e6)
    assert not result.passed
    assert result.reason.startswith("The loss of 1 of 500 held-out samples is not finite")
    written = result.model_dump_json(by_alias=True)
    assert Verdict.model_validate_json(written).model_dump_json(by_alias=True) == written


@pytest.mark.parametrize("ratio", [11.0, np.nan, np.inf])
def test_an_update_that_exploded_fails(ratio: float) -> None:
    result = verdict(noise(-0.1), update_ratios={"calm": 0.2, "wild": ratio})
    assert not result.passed
    assert result.reason.startswith(f"The update of wild is {ratio:.3g} times")


@settings(max_examples=20, deadline=None)
@given(st.floats(-2, 2), st.integers(0, 5))
def test_an_interval_moves_with_its_differences(shift: float, seed: int) -> None:
    differences = HARD - HARD.mean()
    low, high = bootstrap_interval(differences, seed)
    moved = bootstrap_interval(differences + shift, seed)
    assert low < 0 < high
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-9)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """95 % of 200 samples, within four standard errors of a proportion."""
    rng = np.random.default_rng(5)
    drawn = [bootstrap_interval(rng.normal(0.3, 1, 80), seed) for seed in range(200)]
    covered = np.mean([low <= 0.3 <= high for low, high in drawn])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / 200) ** 0.5


def test_many_samples_are_resampled_in_pieces() -> None:
    differences = np.random.default_rng(2).normal(0, 1, 50_000)
    low, high = bootstrap_interval(differences, 1)
    assert high - low == pytest.approx(2 * 1.96 / 50_000**0.5, rel=0.1)
