"""Figures as people write them."""

from __future__ import annotations

from typing import Final

_THOUSAND: Final = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def size(num_bytes: float) -> str:
    """``1.5 MB``: decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < _THOUSAND:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= _THOUSAND
    return f"{num_bytes:.3g} TB"


def duration(seconds: float) -> str:
    """``2 h 5 min``, ``3 min 20 s``, ``4.2 s``."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _MINUTE / 6 else f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"
