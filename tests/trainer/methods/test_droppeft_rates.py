"""Rates over depth, and the masks drawn from them."""

from __future__ import annotations

import math
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.methods.droppeft.kinds import Protect, Sampler, Shape
from haversack_trainer.methods.droppeft.masks import draw, expected_active, most_active
from haversack_trainer.methods.droppeft.rates import (
    Infeasible,
    protected_layers,
    shape_weights,
    water_fill,
)

CAP = 0.95
HALF = (0.0, 0.3, 0.7, 0.9, 0.6, 0.5)


@given(
    st.sampled_from(Shape),
    st.integers(2, 48),
    st.floats(0, CAP),
    st.sampled_from(Protect),
    st.floats(0.1, 0.99),
)
def test_rates_have_the_wanted_mean_stay_under_the_cap_and_spare_the_protected(
    shape: Shape, num_layers: int, rate: float, protect: Protect, cap: float
) -> None:
    kept = protected_layers(protect, (), (), num_layers)
    weights = shape_weights(shape, num_layers)
    free = sum(weight > 0 and n not in kept for n, weight in enumerate(weights))
    if rate * num_layers > cap * free + 1e-9:
        with pytest.raises(Infeasible, match="lower the rate to"):
            water_fill(weights, kept, rate, cap)
        return
    rates = water_fill(weights, kept, rate, cap)
    assert mean(rates) == pytest.approx(rate, abs=1e-9)
    assert all(0 <= each <= cap for each in rates)
    assert all(rates[layer] == 0 for layer in kept)


def test_the_incremental_shape_rises_to_twice_the_mean() -> None:
    rates = water_fill(shape_weights(Shape.INCREMENTAL, 5), (), 0.4, 1.0)
    assert rates == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_a_clipped_layers_share_goes_to_the_others_in_proportion() -> None:
    rates = water_fill((1, 2, 100), (), 0.5, 0.9)
    assert rates == pytest.approx([0.2, 0.4, 0.9])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape.UNIFORM, [1, 1, 1]),
        (Shape.INCREMENTAL, [0, 0.5, 1]),
        (Shape.DECAY, [1, 0.5, 0]),
        (Shape.BELL, [math.exp(-2), 1, math.exp(-2)]),
        (Shape.EXPONENTIAL, [0, math.sqrt(2) - 1, 1]),
        (Shape.IMPORTANCE, [1, 1, 1]),
    ],
)
def test_shapes(shape: Shape, expected: list[float]) -> None:
    assert shape_weights(shape, 3) == pytest.approx(expected)


def test_important_layers_are_dropped_less() -> None:
    weights = shape_weights(Shape.IMPORTANCE, 3, [1.0, 2.0, 4.0])
    assert weights == pytest.approx([1, 0.5, 0.25])


def test_protected_are_the_ends_the_named_and_the_structural() -> None:
    assert protected_layers(Protect.FIRST_AND_LAST, [2], [3], 6) == {0, 2, 3, 5}
    assert protected_layers(Protect.NONE, (), [0], 6) == {0}
    with pytest.raises(Infeasible, match=r"names layer 6, but the model's layers are 0 to 5"):
        protected_layers(Protect.NONE, [6], (), 6)


@given(st.lists(st.floats(0, 0.99), min_size=2, max_size=24), st.integers(0, 2**32))
def test_systematic_counts_are_the_means_floor_or_ceiling(rates: list[float], seed: int) -> None:
    active = expected_active(tuple(rates))
    everything = range(len(rates))
    kept = int((~draw(tuple(rates), everything, Sampler.SYSTEMATIC, [seed])).sum())
    assert math.floor(active - 1e-9) <= kept <= math.ceil(active + 1e-9) or kept == 1


@pytest.mark.parametrize("sampler", Sampler)
def test_layers_stay_as_often_as_they_should(sampler: Sampler) -> None:
    masks = np.array([draw(HALF, range(6), sampler, (1, n)) for n in range(2000)])
    assert masks.mean(axis=0) == pytest.approx(HALF, abs=0.045)


@pytest.mark.parametrize("sampler", Sampler)
def test_a_mask_is_a_function_of_its_key_and_some_adapted_layer_stays(sampler: Sampler) -> None:
    rates = (0.6, 0.6, 0.6, 0.6)
    keys = [(17, peer, 3, step, 0) for peer in range(2) for step in range(100)]
    first = [draw(rates, {1}, sampler, key) for key in keys]
    again = [draw(rates, {1}, sampler, key) for key in reversed(keys)]
    assert np.array_equal(first, again[::-1])
    assert not any(mask[1] for mask in first)
    assert len({mask.tobytes() for mask in first}) > 1


def test_memory_follows_the_most_active_layers() -> None:
    """Figures of the specification: 99.9 % quantile of active layers under Bernoulli sampling."""
    for num_layers, rate, expected in ((12, 0.5, 11), (24, 0.5, 19), (48, 0.5, 35), (48, 0.7, 25)):
        rates = (rate,) * num_layers
        assert most_active(rates, Sampler.BERNOULLI) == expected
        assert most_active(rates, Sampler.SYSTEMATIC) == math.ceil(num_layers * (1 - rate))
