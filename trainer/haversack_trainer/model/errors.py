"""The room's one exception."""

from __future__ import annotations


class ModelError(Exception):
    """The model or adapter cannot be used; one sentence that says what to change."""
