"""What makes the local steps: AdamW or SGD of the peer's own, or SGD that is pulled along by how the mixed state moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .kinds import OptimizerKind
from .settings import Settings


class AdamW(torch.optim.AdamW):
    """Torch's, of local steps."""

    def begin_round(self, unit: float) -> None:
        """Before the first step of a round; ``unit``: the sum of its steps' learning rates."""


class Sgd(torch.optim.SGD):
    """Torch's, of local steps."""

    def begin_round(self, unit: float) -> None:
        """As ``AdamW``'s."""


class QuasiGlobalSgd(Sgd):
    """QG-DSGDm (Lin, Karimireddy, Stich, Jaggi, arXiv 2102.04761, Algorithm 1), here with several steps between two mixings.

    A round's momentum starts from an average of how far the state has moved from one round's start to the next,
    mixing included, in units of the learning rates of that round's steps:

        g_t = mu·g_(t-1) + (1 - mu)·(x_(t-1) - x_t)/(lr_1 + … + lr_K)

    A peer's own momentum leads to what fits its own data; this one leads where the neighbourhood goes, and costs no bytes.
    """

    @torch.no_grad()
    def begin_round(self, unit: float) -> None:
        """What is frozen or was in the last round has no past."""
        for group in self.param_groups:
            mu, before = group["momentum"], group.get("unit", unit)
            group["unit"] = unit
            for parameter in group["params"]:
                if not parameter.requires_grad:
                    continue
                state = self.state[parameter]
                if (place := state.get("place")) is not None:
                    moved = (place - parameter) * ((1 - mu) / before)
                    known = state.get("global_momentum")
                    state["global_momentum"] = moved if known is None else known * mu + moved
                    state["momentum_buffer"] = state["global_momentum"].clone()
                state["place"] = parameter.detach().clone()


def optimizer_of(settings: Settings, parameters: Sequence[nn.Parameter]) -> AdamW | Sgd:
    """New, without moments."""
    rate, decay = settings.rate, float(settings.weight_decay)
    if settings.optimizer is OptimizerKind.ADAMW:
        return AdamW(parameters, lr=rate, weight_decay=decay)
    kind = QuasiGlobalSgd if settings.optimizer is OptimizerKind.QUASI_GLOBAL else Sgd
    return kind(parameters, lr=rate, momentum=settings.momentum_share, weight_decay=decay)
