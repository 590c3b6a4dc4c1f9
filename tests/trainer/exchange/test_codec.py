"""States as bytes: exact, canonical, and refused when they are of another layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from haversack_trainer.exchange.codec import HEADER_BYTES, CodecError, Layout

Arrays = dict[str, NDArray[np.float32]]

states = st.dictionaries(
    st.text(max_size=8),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    max_size=4,
)


@given(states)
def test_a_state_comes_back_bit_for_bit(state: Arrays) -> None:
    layout = Layout.of(state)
    data = layout.encode(state)
    assert len(data) == layout.num_bytes
    back = layout.decode(data)
    assert list(back) == sorted(state)
    for name, values in state.items():
        assert back[name].tobytes() == values.tobytes()
        assert back[name].shape == values.shape


@given(states)
def test_the_order_of_names_does_not_matter(state: Arrays) -> None:
    turned = dict(reversed(state.items()))
    assert Layout.of(state).encode(state) == Layout.of(turned).encode(turned)


@given(states, states)
def test_another_layout_is_refused_on_both_sides(state: Arrays, other: Arrays) -> None:
    layout = Layout.of(state)
    if Layout.of(other) == layout:
        assert layout.decode(layout.encode(other)).keys() == state.keys()
        return
    with pytest.raises(CodecError, match="names or shapes"):
        layout.encode(other)
    with pytest.raises(CodecError, match="another layout"):
        layout.decode(Layout.of(other).encode(other))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        Layout((("a", (2, 3)),)).decode(data)


@pytest.mark.parametrize("cut", [1, 4, 24])
def test_a_cut_state_is_refused(cut: int) -> None:
    layout = Layout((("a", (2, 3)),))
    data = layout.encode({"a": np.zeros((2, 3), np.float32)})
    with pytest.raises(CodecError, match="its layout needs"):
        layout.decode(data[:-cut])


def test_values_are_little_endian_and_sorted_by_name() -> None:
    state = {"b": np.array([2.0], np.float32), "a": np.array([1.0], np.float32)}
    values = Layout.of(state).encode(state)[HEADER_BYTES:]
    assert values.hex() == "0000803f" + "00000040"
