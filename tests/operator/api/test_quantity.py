"""Quantities are exact, round up, and say what is wrong with what is none."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_operator.api.quantity import (
    QuantityError,
    format_bytes,
    format_millis,
    to_bytes,
    to_count,
    to_millis,
)


@pytest.mark.parametrize(
    ("text", "millis"),
    [("500m", 500), ("2", 2000), ("0.0001", 1), ("1.5", 1500), ("1k", 1_000_000), ("250u", 1)],
)
def test_cpu(text: str, millis: int) -> None:
    assert to_millis(text) == millis


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8Gi", 8 * 2**30),
        ("7813Mi", 7813 * 2**20),
        ("1.5Ki", 1536),
        ("12e6", 12_000_000),
        ("1E", 10**18),
        ("1e3", 1000),
        ("0", 0),
        (".5k", 500),
        ("100m", 1),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert to_bytes(text) == size


def test_devices() -> None:
    assert to_count("4") == 4


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1gi", "-1", "1e999", "٣Gi", "1Gi\n", "9" * 65, "1..2", "NaN"]
)
def test_what_is_none_is_quoted(text: str) -> None:
    with pytest.raises(QuantityError, match="not a quantity; write for example 500m, 2 or 8Gi"):
        to_bytes(text)


SUFFIXES = {"": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(1000), "Mi": Fraction(2**20)}


@given(number=st.decimals(0, 10**9, places=3, allow_nan=False), suffix=st.sampled_from([*SUFFIXES]))
def test_rounding_is_up_and_less_than_one(number: object, suffix: str) -> None:
    exact = Fraction(str(number)) * SUFFIXES[suffix]
    assert 0 <= to_bytes(f"{number}{suffix}") - exact < 1
    assert 0 <= to_millis(f"{number}{suffix}") - 1000 * exact < 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (10 * 2**30, "10 GiB"),
        (6_657_199_309, "6.2 GiB"),
        (2**30 - 1, "1 GiB"),
        (-(2**20), "-1 MiB"),
        (5000 * 2**60, "5000 EiB"),
    ],
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 2**62))
def test_words_are_within_five_hundredths_of_a_unit(size: int) -> None:
    number, unit = format_bytes(size).split()
    assert (unit == "byte") == (size == 1)
    scale = 1024 ** [
        "bytes" if size != 1 else "byte",
        "KiB",
        "MiB",
        "GiB",
        "TiB",
        "PiB",
        "EiB",
    ].index(unit)
    assert abs(Fraction(number) * scale - size) <= Fraction(scale, 20)


@pytest.mark.parametrize(
    ("millis", "text"), [(2000, "2"), (1500, "1.5"), (250, "0.25"), (0, "0"), (-500, "-0.5")]
)
def test_cpus_in_words(millis: int, text: str) -> None:
    assert format_millis(millis) == text
