from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.methods.spsa.codec import INVALID, decode, encode

EXPONENTS = (-128, -9, 0, 13, 127)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_every_code_survives_a_round_trip(exponent: int) -> None:
    codes = bytes(range(256))
    values = decode(exponent, codes)
    top = values[127]
    assert top is not None
    again = encode([top, *(math.nan if v is None else v for v in values)])
    assert again == (exponent, bytes([127]) + codes)


@given(st.lists(st.floats(2**-8, 2**7), min_size=1, max_size=20), st.randoms())
def test_error_is_below_4_4_percent_within_the_range(
    magnitudes: list[float], random: object
) -> None:
    scalars = [m if i % 2 else -m for i, m in enumerate(magnitudes)]
    for scalar, decoded in zip(scalars, decode(*encode(scalars)), strict=True):
        assert decoded == pytest.approx(scalar, rel=0.0443)


def test_the_largest_of_a_block_is_never_clipped() -> None:
    assert decode(*encode([1e-3, 40.0, -3.0]))[1] == pytest.approx(40.0, rel=0.0443)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_invalid(bad: float) -> None:
    exponent, codes = encode([1.0, bad])
    assert codes[1] == INVALID
    assert decode(exponent, codes)[1] is None


def test_zero_is_exact_and_far_below_the_block_is_zero() -> None:
    assert decode(*encode([0.0, 1.0, -1e-6]))[::2] == [0.0, 0.0]
    assert encode([0.0, 0.0]) == (0, bytes(2))


@pytest.mark.parametrize(("huge", "decoded"), [(1e30, 2**15.875), (-1e30, -(2**15.875))])
def test_a_claim_beyond_the_scale_is_cut_to_it(huge: float, decoded: float) -> None:
    assert decode(*encode([huge])) == [pytest.approx(decoded)]
