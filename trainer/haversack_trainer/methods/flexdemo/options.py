"""The settings as numbers, with the defaults that depend on the scheme."""

from __future__ import annotations

from dataclasses import dataclass

from . import settings as chosen
from .settings import MeanMode, Scheme, Settings, Update, ValueType


@dataclass(frozen=True, slots=True)
class Options:
    """What the optimizer needs to know. Wider than ``Settings``: tests take a whole chunk, or beta 1."""

    scheme: Scheme = Scheme.DEMO
    seed: int = 0
    learning_rate: float = 0.0003
    weight_decay: float = 0.0
    update: Update = Update.SIGN
    chunk: int = chosen.CHUNK
    top_k: int = chosen.TOP_K
    mean_mode: MeanMode = MeanMode.SELECTED
    rate: float = float(chosen.RATE)
    beta: float = float(chosen.BETA)
    alpha: float = float(chosen.ALPHA)
    value_type: ValueType = ValueType.BF16
    outer_learning_rate: float = float(chosen.OUTER_LEARNING_RATE)
    outer_momentum: float = float(chosen.OUTER_MOMENTUM)
    sync_every: int = chosen.SYNC_EVERY

    @property
    def num_steps(self) -> int:
        """Optimizer steps between two exchanges."""
        return self.sync_every if self.scheme is Scheme.DILOCO else 1

    @staticmethod
    def of(settings: Settings, seed: int) -> Options:
        """``seed`` is the run's: all peers pick the same elements. Auto begins as DeMo."""
        is_auto = settings.scheme is Scheme.AUTO
        return Options(
            scheme=Scheme.DEMO if is_auto else settings.scheme,
            seed=seed,
            learning_rate=float(settings.learning_rate),
            weight_decay=float(settings.weight_decay),
            update=settings.update or Update.SIGN,
            chunk=settings.chunk or chosen.CHUNK,
            top_k=settings.top_k or chosen.TOP_K,
            mean_mode=settings.mean_mode or MeanMode.SELECTED,
            rate=float(settings.rate or chosen.RATE),
            beta=float(settings.beta or chosen.BETA),
            alpha=float(settings.alpha or chosen.ALPHA),
            value_type=settings.value_type,
            outer_learning_rate=float(settings.outer_learning_rate or chosen.OUTER_LEARNING_RATE),
            outer_momentum=float(settings.outer_momentum or chosen.OUTER_MOMENTUM),
            sync_every=settings.sync_every or chosen.SYNC_EVERY,
        )
