"""What a round changes is bounded and blurred, whatever the data did to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.privacy.deltas import deviation, normals, protected

PRIVACY = DeltaPrivacy(clip="0.5", noise_multiplier="2")
WIDE = 2 * 2 * 0.5


def same(count: int) -> bytes:
    """Bytes that a test can have twice."""
    return np.random.default_rng(7).bytes(count)


def state(values: list[float]) -> dict[str, np.ndarray]:
    return {"a": np.array(values[:2], np.float32), "b": np.array([values[2:]], np.float32)}


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return math.sqrt(sum(float(np.square(one[n] - other[n].astype(float)).sum()) for n in one))


ANY = st.lists(st.floats(width=32), min_size=4, max_size=4)


@given(ANY, ANY)
def test_no_data_move_the_result_by_more_than_the_sensitivity(
    one: list[float], other: list[float]
) -> None:
    """NaN and infinities included."""
    before = state([1, -2, 0.5, 3])
    moved = [protected(before, state(after), PRIVACY, same) for after in (one, other)]
    assert distance(*moved) <= 2 * 0.5 + 1e-5


@given(arrays.arrays(np.float64, 4, elements=st.floats(-0.2, 0.2)))
def test_a_short_change_is_left_whole(change: np.ndarray) -> None:
    before = state([1, -2, 0.5, 3])
    after = state(list(np.array([1, -2, 0.5, 3]) + change))
    plain = protected(before, before, PRIVACY, same)
    assert distance(protected(before, after, PRIVACY, same), plain) == pytest.approx(
        float(np.linalg.norm(change)), abs=1e-5
    )


def test_a_long_change_keeps_its_direction() -> None:
    before, after = state([0, 0, 0, 0]), state([3, 0, 0, 4])
    moved = protected(before, after, PRIVACY, same)
    plain = protected(before, before, PRIVACY, same)
    assert (moved["a"] - plain["a"]).tolist() == pytest.approx([0.3, 0], abs=1e-5)
    assert (moved["b"] - plain["b"]).tolist() == [pytest.approx([0, 0.4], abs=1e-5)]


def test_noise_is_as_wide_as_promised_and_normal() -> None:
    before = {"a": np.zeros(40_000, np.float32)}
    noise = protected(before, before, PRIVACY, same)["a"]
    assert deviation(PRIVACY) == WIDE
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(WIDE, rel=0.02)
    within = [(np.abs(noise) < times * WIDE).mean() for times in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.01)


def test_noise_is_the_operating_systems_unless_told() -> None:
    assert normals((4,)).tolist() != normals((4,)).tolist()
    assert normals((2, 3), lambda count: b"\0" * count).max() < 9
