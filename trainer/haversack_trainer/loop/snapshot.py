"""The state after a whole round: what a peer goes back to when the next one is cut short."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from haversack_trainer.exchange.log import ClosedRound, RunState
from haversack_trainer.method import SPENT, Method, Trainee


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A peer's own state after ``round`` rounds, on the CPU."""

    round: int
    tensors: Mapping[str, Tensor]
    extra: dict[str, Any] | None = None
    """The method's ``state_dict``; what of it is not known starts afresh."""
    after: ClosedRound | None = None
    """The round that led here, if this process took part in it."""

    @staticmethod
    def of(round: int, model: Trainee, method: Method, after: ClosedRound | None) -> Snapshot:
        """The state that model and method are in."""
        extra = copy.deepcopy(method.state_dict())
        return Snapshot(round, model.trainable_state(), extra, after)

    def with_spent(self, pledged: Sequence[int]) -> Snapshot:
        """The same, where ``pledged`` has been spent on top of what it knows: nothing spent comes back."""
        if not pledged:
            return self
        extra = dict(self.extra or {})
        known = extra.get(SPENT) or [0] * len(pledged)
        return replace(self, extra=extra | {SPENT: list(map(max, known, pledged))})

    def restore(self, model: Trainee, method: Method, fresh: Snapshot) -> None:
        """Put model and method into this state; what is not known is taken from ``fresh``."""
        model.load_trainable_state(self.tensors)
        method.load_state_dict(copy.deepcopy((fresh.extra or {}) | (self.extra or {})))

    def belongs_to(self, state: RunState) -> bool:
        """Whether ``state`` is the log that led here, so that its later rounds may follow."""
        return self.after is not None and state.closed_round(self.round - 1) == self.after
