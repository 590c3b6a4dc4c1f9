"""What a round of DropPEFT costs a peer. No torch and no NumPy here: jobs are planned with it."""

from __future__ import annotations

from typing import Final

from haversack_trainer.contract import forecast
from haversack_trainer.contract.traffic import Round, Work
from haversack_trainer.contract.weights import FLOAT_BYTES

from .settings import Settings, Share

HEADER_BYTES: Final = 40
"""Of a blob; ``exchange.codec`` writes it."""


class Forecast(forecast.Forecast[Settings]):
    """K local steps of which a share of the layers is left out, then the shared layers of the cohort."""

    def a_round(self, settings: Settings, work: Work) -> Round:
        # A configurator begins with no better guess than the rate that is set.
        steps = settings.local_steps * (1 - float(settings.drop_rate))
        sent = HEADER_BYTES + FLOAT_BYTES * work.trainable * _shared(settings, work.num_layers)
        cohort = min(settings.cohort_size or work.num_peers, work.num_peers)
        return Round(steps, sent, cohort - 1)


def _shared(settings: Settings, num_layers: int) -> float:
    """Share of the layers that travel."""
    if settings.share is Share.ALL:
        return 1.0
    wanted = num_layers / 2 if settings.shared_layers is None else settings.shared_layers
    return min(wanted, num_layers) / num_layers
