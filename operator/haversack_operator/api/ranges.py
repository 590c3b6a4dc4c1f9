"""What quantities of a ``FineTuneJob`` may be, in CEL, in Python and in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from haversack_operator.api.quantity import to_millis


@dataclass(frozen=True, slots=True)
class Range:
    """Quantities from ``least`` to ``most``; sums over all peers of a job stay far below 2^63."""

    pattern: str
    least: str
    most: str
    words: str

    def cel(self, field: str) -> str:
        """The rule for the API server."""
        return (
            f"{field}.matches(r'^{self.pattern}$') "
            f"&& quantity({field}).compareTo(quantity('{self.least}')) >= 0 "
            f"&& quantity({field}).compareTo(quantity('{self.most}')) <= 0"
        )

    def holds(self, quantity: str) -> bool:
        """The same, of a parsed spec."""
        if not re.fullmatch(self.pattern, quantity, re.ASCII):
            return False
        return to_millis(self.least) <= to_millis(quantity) <= to_millis(self.most)


CPU: Final = Range(
    r"[0-9]+(m|\.[0-9]{1,3})?", "1m", "100000", "write 1m to 100000 CPUs, like 2, 0.5 or 500m"
)
MEMORY: Final = Range(
    r"[0-9]+(\.[0-9]{1,3})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?",
    "1Mi",
    "1Pi",
    "write 1Mi to 1Pi, as bytes or with a suffix Ki, Mi, Gi, Ti, Pi, k, M, G, T or P, like 8Gi",
)
