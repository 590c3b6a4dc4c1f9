"""Kubernetes quantities (``500m``, ``2``, ``1.5Gi``, ``12e6``), exactly and without floats."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_PATTERN: Final = re.compile(
    r"(?P<number>\d+(\.\d*)?|\.\d+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?", re.ASCII
)
_MAX_LENGTH: Final = 64
_DECIMAL: Final = {"n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_KIBI: Final = 1024


class QuantityError(ValueError):
    """A text that is no quantity; the message quotes it and shows what one looks like."""


def to_millis(quantity: str) -> int:
    """Thousandths (of a CPU), rounded up as Kubernetes does. Raises ``QuantityError``."""
    return _ceil(_parse(quantity) * 1000)


def to_bytes(quantity: str) -> int:
    """Whole bytes, rounded up. Raises ``QuantityError``."""
    return _ceil(_parse(quantity))


def to_count(quantity: str) -> int:
    """Whole devices, rounded up. Raises ``QuantityError``."""
    return _ceil(_parse(quantity))


def format_bytes(size: int) -> str:
    """``6.2 GiB``: the largest binary unit that leaves at least 1, one decimal at most."""
    sign, size = ("-" if size < 0 else ""), abs(size)
    unit = min((max(size.bit_length(), 1) - 1) // 10, len(_UNITS) - 1)
    tenths = (size * 20 + _KIBI**unit) // (2 * _KIBI**unit)
    if tenths >= 10 * _KIBI and unit + 1 < len(_UNITS):
        unit, tenths = unit + 1, 10
    whole, rest = divmod(tenths, 10)
    if size == 1:
        return f"{sign}1 byte"
    return f"{sign}{whole}{f'.{rest}' if rest else ''} {_UNITS[unit]}"


def format_millis(millis: int) -> str:
    """CPUs as a person writes them: ``2``, ``1.5``, ``0.25``."""
    whole, rest = divmod(abs(millis), 1000)
    decimals = f".{rest:03}".rstrip("0").rstrip(".")
    return f"{'-' if millis < 0 else ''}{whole}{decimals}"


def format_seconds(seconds: float) -> str:
    """``12 s``, ``3.4 s``, ``45 ms``: two digits that count."""
    thousandths = 1000 * seconds
    if thousandths < 1000:  # noqa: PLR2004  # milliseconds in a second
        return f"{float(f'{thousandths:.2g}'):g} ms"
    return f"{float(f'{seconds:.2g}'):g} s"


def _parse(quantity: str) -> Fraction:
    match = _PATTERN.fullmatch(quantity) if len(quantity) <= _MAX_LENGTH else None
    if match is None:
        raise QuantityError(
            f"{quantity[:_MAX_LENGTH]!r} is not a quantity; write for example 500m, 2 or 8Gi"
        )
    return Fraction(match["number"]) * _factor(match["suffix"] or "")


def _factor(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return Fraction(_KIBI) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return Fraction(1000) ** _DECIMAL[suffix]
    return Fraction(10) ** int(suffix[1:] or 0)


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
