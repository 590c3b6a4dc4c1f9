"""States in few bits: unbiased, never clipped, as small as they should be, refused when they are another's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from haversack_trainer.exchange.codec import HEADER_BYTES, CodecError, Layout
from haversack_trainer.exchange.quantised import BLOCK, QuantisedLayout

Arrays = dict[str, NDArray[np.float32]]
values = st.floats(-(2.0**100), 2.0**100, width=32)
states = st.dictionaries(
    st.text(max_size=5),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=2, max_side=13), elements=values),
    max_size=3,
)
BITS = (8, 4)
few = settings(max_examples=40, deadline=None)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@few
@given(states, st.sampled_from(BITS), st.integers(0, 99))
def test_every_value_comes_back_within_a_step_of_its_block(
    state: Arrays, bits: int, seed: int
) -> None:
    coder = QuantisedLayout(Layout.of(state), bits)
    data = coder.encode(state, random(seed))
    assert len(data) == coder.num_bytes
    back = coder.decode(data)
    assert list(back) == sorted(state)
    for name, exact in state.items():
        assert back[name].shape == exact.shape
        largest = float(np.abs(exact).max(initial=0))
        step = largest / (2 ** (bits - 1) - 1) * 1.01
        assert np.abs(back[name].astype("f8") - exact).max(initial=0) <= step + 1e-40


@pytest.mark.parametrize("bits", BITS)
def test_rounding_is_unbiased(bits: int) -> None:
    state = {"a": np.linspace(-1, 1, 200, dtype="f4")}
    coder, draw = QuantisedLayout(Layout.of(state), bits), random()
    drawn = np.stack([coder.decode(coder.encode(state, draw))["a"] for _ in range(2000)])
    step = 1.01 / (2 ** (bits - 1) - 1)
    error_of_mean = step / 2 / np.sqrt(len(drawn))
    assert np.abs(drawn.mean(axis=0) - state["a"]).max() < 5 * error_of_mean
    assert drawn.std(axis=0).max() > step / 4


@pytest.mark.parametrize("bits", BITS)
def test_a_small_tensor_is_not_measured_by_a_large_one(bits: int) -> None:
    state = {"a": np.full(70, 1e3, "f4"), "b": np.full(70, 1e-6, "f4")}
    coder = QuantisedLayout(Layout.of(state), bits)
    assert coder.decode(coder.encode(state, random()))["b"] == pytest.approx(state["b"], rel=0.2)


@pytest.mark.parametrize(("bits", "expected"), [(8, 8 / 32), (4, 4 / 32)])
def test_bytes_are_bits_and_a_scale_a_block(bits: int, expected: float) -> None:
    count = 100 * BLOCK
    layout = Layout.of({"a": np.zeros(count, "f4")})
    size = QuantisedLayout(layout, bits).num_bytes - HEADER_BYTES
    assert size == count * bits // 8 + 100 * 2
    assert size / (4 * count) == pytest.approx(expected + 2 / BLOCK / 4)


@pytest.mark.parametrize("bits", BITS)
def test_other_bytes_are_refused(bits: int) -> None:
    state = {"a": np.ones((2, 3), "f4")}
    coder = QuantisedLayout(Layout.of(state), bits)
    data = coder.encode(state, random())
    other = QuantisedLayout(coder.layout, 12 - bits).encode(state, random())
    for bad in (b"", other, coder.layout.encode(state)):
        with pytest.raises(CodecError, match="no state of this layout"):
            coder.decode(bad)
    with pytest.raises(CodecError, match="its layout needs"):
        coder.decode(data[:-1])
    with pytest.raises(CodecError, match="names or shapes"):
        coder.encode({"b": state["a"]}, random())
