"""What a round of D2FT costs a peer. No torch and no NumPy here: jobs are planned with it."""

from __future__ import annotations

from dataclasses import replace

from haversack_trainer.contract import forecast
from haversack_trainer.contract.traffic import Round, Work
from haversack_trainer.methods.declora.forecast import Forecast as Gossip

from .settings import BUDGET, Settings


class Forecast(forecast.Forecast[Settings]):
    """Dec-LoRA's, with steps as long as the schedule lets them be, modelled, and its scorings. What is scored once, before
    the first round, is in none."""

    def a_round(self, settings: Settings, work: Work) -> Round:
        rho = float(settings.rho or 1 / work.forwards_of_a_step)
        share = float(settings.budget or BUDGET)
        if settings.slots is not None:
            share = (
                settings.slots.full + rho * settings.slots.forward_only
            ) / settings.micro_batches
        if settings.refresh_steps:
            share += 1 / settings.refresh_steps
        plain = Gossip().a_round(settings.gossip, work)
        return replace(plain, steps=plain.steps * share)
