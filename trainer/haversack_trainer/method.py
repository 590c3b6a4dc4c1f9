"""What a method is: local work, what goes out, what comes in. Never a socket, a file or a variable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound

Fetch = Callable[[ClosedRound, int], bytes]
"""Blob of a member in a past round."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one round's local work came to."""

    loss: float
    """Mean training loss of the round's local steps; NaN when every step was non-finite."""
    num_samples: int
    num_nonfinite_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


class CannotCatchUp(Exception):
    """The history at hand is not enough to join; the loop falls back to the newest checkpoint."""


class Method(Protocol):
    """One of the ways to train together. Built as ``factory(settings, peer, seed, model, batches)``."""

    def local_step(self, round: int) -> StepResult:
        """Do this round's local work on the peer's own data. Deterministic in (seed, peer, round)."""

    def outgoing(self, round: int) -> Outgoing:
        """What this peer publishes for the round."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        """Take in the closed round; afterwards the state is that of ``round + 1``. Returns figures
        for the report (e.g. consensus distance)."""

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Come from the state before ``history[0]`` to the state after its last round, without having
        taken part. Raises ``CannotCatchUp``."""

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> dict[str, torch.Tensor]:
        """The run's adapter after ``closed``: what is evaluated and published. Same keys as
        ``model.trainable_state()``."""

    def state_dict(self) -> dict[str, Any]:
        """Everything beyond the adapter's tensors that resuming needs (optimizer, momentum)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""
