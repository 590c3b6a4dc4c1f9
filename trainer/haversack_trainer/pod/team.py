"""The first process says what is done next, and all do it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from haversack_trainer.exchange.base import ExchangeError
from haversack_trainer.method import CannotCatchUp, NoConsensus
from haversack_trainer.sharding import World

_Result = TypeVar("_Result")
Action = Callable[..., Any]
END: Final = "end"
AGREED: Final = (ExchangeError, CannotCatchUp, NoConsensus)
"""Raised on all processes alike, and the first one's business: the others wait for its next word. Every other error
ends the process that has it, and so the pod."""
_logger = logging.getLogger(__name__)


class LeaderGone(Exception):
    """The pod's first process is gone; it has said why."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a pod, seen from the first."""

    world: World
    actions: Mapping[str, Action]
    """By name, the same names on every process."""

    def do(self, name: str, *arguments: Any) -> Any:
        """Have all do it; what it came to here."""
        self.world.broadcast((name, arguments))
        return self.actions[name](*arguments)


@contextmanager
def dismissing(world: World | None) -> Iterator[None]:
    """Afterwards the others may go, if the first process is between two actions. Where it is not, they see it vanish."""
    try:
        yield
    except ExchangeError:
        _dismiss(world)
        raise
    _dismiss(world)


def _dismiss(world: World | None) -> None:
    if world is not None:
        world.broadcast((END, ()))


def follow(world: World, actions: Mapping[str, Action]) -> None:
    """Do what the first process says until it says that it is the end. Raises ``LeaderGone``."""
    while True:
        try:
            name, arguments = world.broadcast()
        except RuntimeError as error:
            raise LeaderGone("the pod's first process is gone") from error
        if name == END:
            return
        try:
            actions[name](*arguments)
        except AGREED as error:
            _logger.debug("left to the first process: %s", error)


def agreed(world: World, work: Callable[[], _Result]) -> _Result:
    """The first process does it; all get what it came to, or the error that it raised."""
    if world.rank == 0:
        try:
            result = work()
        except AGREED as error:
            world.broadcast((None, error))
            raise
        world.broadcast((result, None))
        return result
    result, raised = world.broadcast()
    if raised is not None:
        raised_by_first: Exception = raised
        raise raised_by_first
    told: _Result = result
    return told
