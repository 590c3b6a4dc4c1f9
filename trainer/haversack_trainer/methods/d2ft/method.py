"""D2FT (Ding, Zhang, Wang, Ateniese, Yuan, arXiv 2504.12471) within a peer, Dec-LoRA between peers.

Each layer is cut into groups of heads with a slice of its feed-forward part, each step's batch into micro-batches.
A schedule says for every group and micro-batch whether it runs in full, forward only, or not at all, so that the most
valuable training is done within a budget. All groups run in evaluation. To the other peers this one is a client of
Dec-LoRA: what is sent, mixed, resumed and caught up with is as in ``declora``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from haversack_trainer.method import LayeredTrainee, PiecewiseBatches
from haversack_trainer.methods.declora.method import DecLora

from .ground import executor_of, groups_of, planner_of
from .scoring import Scorer
from .settings import Settings
from .training import Scheduled


def d2ft(
    settings: Settings,
    peer: int,
    seed: int,
    model: LayeredTrainee,
    batches: PiecewiseBatches,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> DecLora:
    """Dec-LoRA whose local steps get their gradients by schedule. Raises ``Unsuited``."""
    groups = groups_of(settings, model)
    planner = planner_of(settings, model, batches, groups, clock)
    scorer = Scorer(settings, model, executor_of(settings, model, groups, batches))
    gradients = Scheduled(settings, model, batches, planner, scorer)
    return DecLora(
        settings.gossip, peer, seed, model, batches, gradients=gradients, field="method.d2FT.gossip"
    )
