"""The room's one exception, and how other libraries' become it."""

from __future__ import annotations

from typing import Final

THIRD_PARTY: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError)
"""What transformers and peft raise for files and settings that they cannot use."""


class ModelError(Exception):
    """The model or adapter cannot be used; one sentence that says what to change."""


def first_line(error: Exception) -> str:
    """Of its message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
