"""The room's one exception."""

from __future__ import annotations


class BlocksError(ValueError):
    """The model's layers cannot be found or run as asked; one sentence that names the class."""
