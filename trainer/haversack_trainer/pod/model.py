"""A model on all processes of a pod, as loop, judge and checkpoints see it on the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from haversack_trainer.data import Batch
from haversack_trainer.model import FineTuned

from .team import Action, Team


class LedModel:
    """Collective calls are led; what needs no weights is asked of the first process's own model."""

    def __init__(self, model: FineTuned, team: Team) -> None:
        self._model, self._team = model, team

    def __getattr__(self, name: str) -> Any:
        if f"model.{name}" in self._team.actions:
            return lambda *arguments: self._team.do(f"model.{name}", *arguments)
        return getattr(self._model, name)

    def train(self, mode: bool = True) -> None:
        """Dropout on or off."""
        self._team.do("model.train", mode)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the samples."""
        losses: Tensor = self._team.do("model.losses", batch)[0]
        return losses.mean()

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Set the trainables on all processes."""
        self._team.do("model.load_trainable_state", dict(state))

    def without_adapter(self) -> AbstractContextManager[None]:
        """The base model."""
        return self._within("model.enter_base")

    def with_adapter(self, folder: Path) -> AbstractContextManager[None]:
        """Another adapter."""
        return self._within("model.enter_adapter", folder)

    @contextmanager
    def _within(self, name: str, *arguments: Any) -> Iterator[None]:
        self._team.do(name, *arguments)
        try:
            yield
        finally:
            self._team.do("model.leave")


def model_actions(model: FineTuned, rank: int) -> dict[str, Action]:
    """What a process does for judge and checkpoints."""
    entered: list[ExitStack] = []

    def enter(context: AbstractContextManager[None]) -> None:
        with ExitStack() as stack:
            stack.enter_context(context)
            entered.append(stack.pop_all())

    def save_adapter(folder: Path) -> None:
        # All gather the weights; the first one's files count.
        model.save_adapter(folder if rank == 0 else folder.with_name(f"{folder.name}.{rank}"))

    return {
        "model.train": model.train,
        "model.losses": model.losses,
        "model.features": model.features,
        "model.trainable_state": model.trainable_state,
        "model.load_trainable_state": model.load_trainable_state,
        "model.trainables_digest": model.trainables_digest,
        "model.update_ratios": model.update_ratios,
        "model.save_adapter": save_adapter,
        "model.enter_base": lambda: enter(model.without_adapter()),
        "model.enter_adapter": lambda folder: enter(model.with_adapter(folder)),
        "model.leave": lambda: entered.pop().close(),
    }
