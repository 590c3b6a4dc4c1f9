"""What a round of FlexDeMo costs a peer, and what ``scheme: Auto`` would choose. No torch here: jobs are planned with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from haversack_trainer.contract import forecast
from haversack_trainer.contract.traffic import RECORD_TRIPS, Line, Round, Work

from .auto import Measured, choose
from .options import Options
from .settings import Scheme, Settings, Update
from .sizes import HEADER_BYTES, part_bytes

_SEED = 0


class Forecast(forecast.Forecast[Settings]):
    """One step (DiLoCo: ``syncEvery`` of them), then what the scheme picks, of everybody."""

    def a_round(self, settings: Settings, work: Work) -> Round:
        options = Options.of(settings, _SEED)
        return Round(options.num_steps, payload_bytes(options, work.trainable), work.num_peers - 1)

    def on_line(
        self, settings: Settings, work: Work, line: Line, step_seconds: float
    ) -> tuple[Settings, str]:
        """By what the peers choose with after their probe; here the line is given."""
        if settings.scheme is not Scheme.AUTO:
            return settings, ""
        options = Options.of(settings, _SEED)

        def length(changes: Mapping[str, Any]) -> int:
            return payload_bytes(replace(options, **changes), work.trainable)

        choice = choose(
            _as_if_measured(length({}), work, line, step_seconds),
            length,
            with_full=options.update is Update.ADAMW,
        )
        changes = dict(choice.changes)
        if "rate" in changes:
            changes["rate"] = str(changes["rate"])
        update = None if changes["scheme"] is Scheme.DILOCO else settings.update
        changes |= {"delay": choice.delay, "update": update}
        return settings.model_copy(update=changes), choice.reason


def payload_bytes(options: Options, trainable: int) -> int:
    """Of a payload whose tensors are taken as one."""
    return HEADER_BYTES + part_bytes(options, trainable)


def _as_if_measured(bulk_bytes: int, work: Work, line: Line, step_seconds: float) -> Measured:
    others = work.num_peers - 1
    small, bulk = line.seconds(0, others, RECORD_TRIPS), line.seconds(bulk_bytes, others)
    return Measured(step_seconds, small, bulk, bulk_bytes)
