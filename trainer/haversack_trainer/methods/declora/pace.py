"""What the local steps' settings must hold. No torch here, as in ``settings``."""

from __future__ import annotations

from typing import Final

from haversack_trainer.contract.base import LEARNS, Check

from .kinds import MixerKind, OptimizerKind

OPTIMIZER_CHECKS: Final = (
    LEARNS,
    Check(
        "!has(self.momentum) || double(self.momentum) < 1.0",
        lambda settings: settings.momentum is None or float(settings.momentum) < 1,
        "momentum: is what is left of it after a step; write less than 1",
    ),
    Check(
        "!has(self.momentum) || self.optimizer != 'AdamW'",
        lambda settings: settings.momentum is None or settings.optimizer is not OptimizerKind.ADAMW,
        "momentum: goes with optimizer SGD or QuasiGlobal; remove it or change the optimizer",
    ),
    Check(
        "!has(self.momentum) || self.optimizer != 'QuasiGlobal' || double(self.momentum) > 0.0",
        lambda settings: (
            settings.momentum is None
            or settings.optimizer is not OptimizerKind.QUASI_GLOBAL
            or float(settings.momentum) > 0
        ),
        "momentum: without any, QuasiGlobal is SGD; write more than 0, or optimizer SGD",
    ),
    Check(
        "self.optimizer != 'QuasiGlobal' || !(self.mixer in ['DeCAF', 'FedRot', 'Auto'])",
        lambda settings: (
            settings.optimizer is not OptimizerKind.QUASI_GLOBAL
            or settings.mixer not in {MixerKind.DECAF, MixerKind.FEDROT, MixerKind.AUTO}
        ),
        "optimizer: QuasiGlobal follows each tensor from round to round, but DeCAF and FedRot change coordinates, and Auto "
        "may choose DeCAF; write SGD or change the mixer",
    ),
)
