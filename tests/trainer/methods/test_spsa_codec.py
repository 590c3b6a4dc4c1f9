from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.methods.spsa.codec import (
    INVALID,
    decode,
    decode_signs,
    encode,
    encode_signs,
)

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


@given(st.floats(2**-14, 1), st.sampled_from((-1, 1)))
def test_rounding_at_random_is_right_on_average(magnitude: float, sign: int) -> None:
    """Exactly so over chances that are spread evenly."""
    count = 4096
    exponent, codes = encode(
        [1.0, *[sign * magnitude] * count], [0.0, *((i + 0.5) / count for i in range(count))]
    )
    values = [value for value in decode(exponent, codes)[1:] if value is not None]
    assert sum(values) / count == pytest.approx(sign * magnitude, rel=0.1 / count)
    assert len(set(values)) <= 2


def test_rounding_at_random_leaves_codes_alone() -> None:
    codes = bytes([127, *range(1, 127), *range(129, 255), 0])
    values = [value for value in decode(5, codes) if value is not None]
    for chance in (0.001, 0.999):
        assert encode(values, [chance] * len(values)) == (5, codes)


@given(st.lists(st.sampled_from((-2.5, -0.0, 0.0, 1e-9, math.nan, math.inf)), max_size=40))
def test_signs_survive_a_round_trip(scalars: list[float]) -> None:
    body = encode_signs(scalars)
    expected = [None if not math.isfinite(s) else -1.0 if s < 0 else 1.0 for s in scalars]
    assert decode_signs(body, len(scalars)) == expected
    size = -(-len(scalars) // 8)
    assert len(body) == (2 * size if None in expected else size)


@pytest.mark.parametrize("size", [0, 1, 3, 5, 65_535])
def test_signs_of_another_number_of_scalars_are_no_signs(size: int) -> None:
    assert decode_signs(bytes(size), 9) is None
