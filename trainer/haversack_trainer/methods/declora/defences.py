"""What privacy and robust averages ask of Dec-LoRA's other settings. No torch here, as in ``settings``."""

from __future__ import annotations

from typing import Final

from haversack_trainer.contract.base import Check
from haversack_trainer.contract.privacy import PRIVACY_CHECKS

DEFENCE_CHECKS: Final = (
    Check(
        "!has(self.privacy) || self.mixer in ['FFA', 'Auto']",
        lambda settings: settings.privacy is None or settings.mixer in {"FFA", "Auto"},
        "privacy: noise on both factors would be multiplied with itself; write mixer FFA, which trains B only",
    ),
    *PRIVACY_CHECKS,
    Check(
        "!has(self.robust) || (self.mixer in ['Factor', 'FFA', 'ADF'] && self.weights == 'Metropolis' && "
        "!(self.graph in ['ErdosRenyi', 'MeasuredLinks']))",
        lambda settings: (
            settings.robust is None
            or (
                settings.mixer in {"Factor", "FFA", "ADF"}
                and settings.weights == "Metropolis"
                and settings.graph not in {"ErdosRenyi", "MeasuredLinks"}
            )
        ),
        "robust: averages tensors, each peer counting the same, in neighbourhoods of a known size; write mixer "
        "Factor, FFA or ADF, no weights, and another graph than ErdosRenyi and MeasuredLinks",
    ),
)
