"""One rule, in both languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from haversack_trainer.contract.base import cel


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on the object at ``path``; ``[]`` stands for each item of a list."""

    path: str
    cel: str
    holds: Callable[[Any], bool]
    message: str
    """Names the field below ``path`` and says what to change."""

    def validation(self) -> dict[str, str]:
        """The entry in ``x-kubernetes-validations``."""
        return cel(self.cel, self.message)
