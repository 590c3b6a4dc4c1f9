"""A method on all processes of a pod, as the loop sees it on the first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Fetch, Method, StepResult
from haversack_trainer.sharding import World

from .team import Action, Team, agreed

PROCESSES: Final = "processes"


class LedMethod:
    """A ``Method``. What the first process fetches from other peers, all processes get."""

    def __init__(self) -> None:
        self._team: Team
        self._fetch: Fetch
        self._exchange_seconds: Callable[[], float]

    def lead(self, team: Team) -> None:
        """From now on it may be used."""
        self._team = team

    def local_step(self, round: int) -> StepResult:
        result: StepResult = self._team.do("method.local_step", round)
        return result

    def ahead(self, round: int) -> None:
        self._team.do("method.ahead", round)

    def outgoing(self) -> Outgoing:
        result: Outgoing = self._team.do("method.outgoing")
        return result

    def incoming(self, swap: Swap) -> dict[str, float]:
        self._fetch = lambda _, peer: swap.fetch(peer)
        self._exchange_seconds = swap.exchange_seconds
        result: dict[str, float] = self._team.do("method.incoming", swap.closed, swap.me)
        return result

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        self._fetch = fetch
        self._team.do("method.catch_up", list(history))

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> dict[str, Tensor]:
        self._fetch = fetch
        result: dict[str, Tensor] = self._team.do("method.consensus", closed)
        return result

    def state_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = self._team.do("method.state_dict")
        return result

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._team.do("method.load_state_dict", state)

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        """The newest call's way to the other peers' blobs."""
        return self._fetch(closed, peer)

    def exchange_seconds(self) -> float:
        """Of the newest round's exchange."""
        return self._exchange_seconds()


def method_actions(
    world: World,
    method: Method,
    led: LedMethod | None = None,
    common: Collection[str] = (),
) -> dict[str, Action]:
    """What a process does for the loop. ``led`` is the first one's, who alone has the log. ``common``: names in the
    state of what all peers have, and so all processes."""
    fresh = copy.deepcopy(method.state_dict())

    def shared_fetch(closed: ClosedRound, peer: int) -> bytes:
        return agreed(world, lambda: led.fetch(closed, peer) if led else b"")

    def shared_seconds() -> float:
        return agreed(world, lambda: led.exchange_seconds() if led else 0.0)

    def incoming(closed: ClosedRound, me: int) -> dict[str, float]:
        swap = Swap(closed, me, lambda peer: shared_fetch(closed, peer), shared_seconds)
        return method.incoming(swap)

    def local_step(round: int) -> StepResult:
        result = method.local_step(round)
        (num_samples,) = world.sums(result.num_samples)
        return replace(result, num_samples=int(num_samples))

    def state_dict() -> dict[str, Any]:
        state = method.state_dict()
        own = world.gather({name: value for name, value in state.items() if name not in common})
        shared = {name: value for name, value in state.items() if name in common}
        return shared | ({PROCESSES: own} if any(own) else {})

    def load_state_dict(state: dict[str, Any]) -> None:
        kept = state.get(PROCESSES, ())
        # To a pod with another number of processes nothing fits: what was left to send is lost.
        own = kept[world.rank] if len(kept) == world.size else fresh
        shared = {name: value for name, value in (fresh | state).items() if name in common}
        method.load_state_dict(own | shared)

    return {
        "method.local_step": local_step,
        "method.ahead": method.ahead,
        "method.outgoing": method.outgoing,
        "method.incoming": incoming,
        "method.catch_up": lambda history: method.catch_up(history, shared_fetch),
        "method.consensus": lambda closed: method.consensus(closed, shared_fetch),
        "method.state_dict": state_dict,
        "method.load_state_dict": load_state_dict,
    }
