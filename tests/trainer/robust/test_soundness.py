"""What is so wrong that it counts for nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from haversack_trainer.robust.soundness import is_sound, sound_among

LIKE = {"a": np.ones(4, np.float32), "b": np.zeros((2, 2), np.float32)}


@given(arrays.arrays(np.float32, 4, elements=st.floats(-10, 10, width=32)))
def test_what_training_gives_is_sound(values: np.ndarray) -> None:
    assert is_sound({"a": values}, LIKE)


@given(
    arrays.arrays(np.float32, 4, elements=st.floats(-1, 1, width=32)), st.integers(0, 3), st.data()
)
def test_one_wild_number_is_enough(values: np.ndarray, at: int, data: st.DataObject) -> None:
    values[at] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -3.4e38, 1e4]))
    assert not is_sound({"a": values}, LIKE)


def test_beside_noise_more_is_sound() -> None:
    wide = {"a": np.full(4, 90, np.float32)}
    assert not is_sound(wide, LIKE)
    assert is_sound(wide, LIKE, spread=20)


def test_only_what_was_sent_is_measured() -> None:
    large = {"a": np.full(4, 1e6, np.float32), "b": np.zeros((2, 2), np.float32)}
    assert is_sound({"a": large["a"] * 3}, large)
    assert not is_sound({"b": np.full((2, 2), 1e5, np.float32)}, large)
    assert is_sound({}, large)
    assert is_sound({"b": np.full((2, 2), 9, np.float32)}, large)


@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=5), st.integers(0, 5))
def test_a_round_s_states_are_judged_beside_each_other(honest: list[float], at: int) -> None:
    states = {peer: {"a": np.full(3, value, np.float32)} for peer, value in enumerate(honest)}
    assert sound_among(states) == set(states)
    wild = {9: {"a": np.full(3, 1e4, np.float32)}, 8: {"a": np.full(3, np.nan, np.float32)}}
    both = dict(sorted((states | wild).items(), key=lambda item: (item[0] + at) % 10))
    assert sound_among(both) == set(states)


def test_where_no_state_is_finite_none_counts() -> None:
    assert sound_among({0: {"a": np.full(2, np.inf, np.float32)}}) == set()
    assert sound_among({}) == set()
