"""Figures as people write them."""

from __future__ import annotations

from typing import Final

_THOUSAND: Final = 1000
_TENTHS_BELOW_SECONDS: Final = 9.95


def size(num_bytes: float) -> str:
    """``1.5 MB``: decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < _THOUSAND:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= _THOUSAND
    return f"{num_bytes:.3g} TB"


def duration(seconds: float) -> str:
    """``2 h 5 min``, ``3 min 20 s``, ``4.2 s``."""
    if seconds < _TENTHS_BELOW_SECONDS:
        return f"{seconds:.1f} s"
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole_seconds} s" if minutes else f"{whole_seconds} s"


def counted(number: int, noun: str) -> str:
    """``1 peer``, ``4 peers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
