"""What a method's settings make of a round, before anything has run. No torch: jobs are planned with it."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from .traffic import Line, Round, Work
from .weights import FLOAT_BYTES

SettingsT = TypeVar("SettingsT", bound=Any)


class Forecast(Generic[SettingsT]):
    """Of a method that says nothing else: one step a round, and everything that is trained goes to everybody."""

    def a_round(self, settings: SettingsT, work: Work) -> Round:  # noqa: ARG002  # a method's own asks
        """One peer's round; bytes as the method's own codec counts them."""
        return Round(1, FLOAT_BYTES * work.trainable, work.num_peers - 1)

    def on_line(
        self,
        settings: SettingsT,
        work: Work,  # noqa: ARG002
        line: Line,  # noqa: ARG002
        step_seconds: float,  # noqa: ARG002
    ) -> tuple[SettingsT, str]:
        """The settings with what they leave to the run's first rounds, as it would be decided on such a line, and a
        sentence on it; empty where they leave nothing."""
        return settings, ""
