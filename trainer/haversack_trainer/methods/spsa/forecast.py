"""What a round of SPSA costs a machine. No torch here: jobs are planned with it."""

from __future__ import annotations

from haversack_trainer.contract import forecast
from haversack_trainer.contract.records import HEADER_BYTES
from haversack_trainer.contract.traffic import RECORD_TRIPS, Round, Work

from .settings import LOCAL_STEPS, Code, Differences, Estimate, Settings

SIDES = 2


class Forecast(forecast.Forecast[Settings]):
    """Forward passes only, and a record; what is trained makes no difference to its length."""

    def a_round(self, settings: Settings, work: Work) -> Round:
        directions = settings.directions
        scalars = -(-directions // 8) if settings.code is Code.SIGN else directions
        return Round(
            _steps(settings, work), HEADER_BYTES + scalars, work.num_peers - 1, RECORD_TRIPS
        )


def _steps(settings: Settings, work: Work) -> float:
    if settings.estimator is Estimate.PROJECTION:
        return settings.local_steps or LOCAL_STEPS
    is_one_sided = settings.differences is Differences.ONE_SIDED
    forwards = settings.directions + 1 if is_one_sided else SIDES * settings.directions
    return forwards / work.forwards_of_a_step
