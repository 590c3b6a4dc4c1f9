"""The first process leads, the others follow: in threads, with queues in place of a process group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, cast

import pytest
from toy_pods import OfTwo, Wires

from haversack_trainer.exchange.base import Outgoing, Stopped, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Fetch, Method, StepResult
from haversack_trainer.pod.batches import NoBatches, PodBatches
from haversack_trainer.pod.method import LedMethod, method_actions
from haversack_trainer.pod.team import LeaderGone, Team, agreed, dismissing, follow
from haversack_trainer.sharding import World

CLOSED = cast("ClosedRound", "a closed round")


class Part:
    """One process's part of a method."""

    def __init__(self, world: World, batches: PodBatches) -> None:
        self.world, self.batches = world, batches
        self.calls: list[Any] = []
        self.left = world.rank

    def local_step(self, round: int) -> StepResult:
        batch = self.batches.micro_batches(round)
        self.calls.append(("step", round))
        return StepResult(loss=1.0, num_samples=len(batch))

    def ahead(self, round: int) -> None:
        self.calls.append(("ahead", round))

    def outgoing(self) -> Outgoing:
        return Outgoing(b"word", blob=b"".join(self.world.gather(b"%d" % self.world.rank)))

    def incoming(self, swap: Swap) -> dict[str, float]:
        self.calls.append([swap.fetch(peer) for peer in (3, 4)])
        self.calls.append(swap.exchange_seconds())
        return {}

    def catch_up(self, history: Any, fetch: Fetch) -> None:
        self.calls.append([fetch(closed, 0) for closed in history])

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"left": self.left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.left = state["left"]


class Own:
    """A process's own samples: as many as its rank and one."""

    num_records = 7

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def micro_batches(self, step: int) -> list[int]:
        return [step] * (self.rank + 1)


class Attending(NoBatches):
    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop = stop

    def micro_batches(self, step: int) -> list[int]:
        if self.stop():
            raise Stopped("asked to stop")
        return []


@dataclass
class Two:
    """A pod of two processes, the second in a thread."""

    stop: Callable[[], bool] = lambda: False
    ended: list[BaseException | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        wires = Wires()
        self.worlds = [cast("World", OfTwo(rank, wires)) for rank in range(2)]
        self.led = LedMethod()
        first = PodBatches(self.worlds[0], Own(0), Attending(lambda: bool(self.stop())))
        self.parts = [
            Part(self.worlds[0], first),
            Part(self.worlds[1], PodBatches(self.worlds[1], Own(1))),
        ]
        methods = [cast("Method", part) for part in self.parts]
        actions = method_actions(self.worlds[0], methods[0], self.led)
        self.led.lead(Team(self.worlds[0], actions))
        self.actions = method_actions(self.worlds[1], methods[1])
        self.thread = Thread(target=self._follow)
        self.thread.start()

    def _follow(self) -> None:
        try:
            follow(self.worlds[1], self.actions)
            self.ended.append(None)
        except Exception as error:  # noqa: BLE001  # looked at by the tests
            self.ended.append(error)

    def end(self) -> None:
        with dismissing(self.worlds[0]):
            pass
        self.thread.join(10)


def test_all_do_what_the_first_says_and_get_what_it_fetches() -> None:
    two = Two()
    assert two.led.local_step(5).num_samples == 3, "of both processes"
    assert two.led.outgoing().blob == b"01"
    two.led.incoming(Swap(CLOSED, 0, lambda peer: b"from %d" % peer, lambda: 2.5))
    two.led.catch_up([CLOSED], lambda closed, peer: b"old")
    two.end()
    assert two.ended == [None]
    assert two.parts[0].calls == two.parts[1].calls
    assert two.parts[1].calls == [("step", 5), [b"from 3", b"from 4"], 2.5, [b"old"]]


def test_stopping_is_agreed_on_and_nobody_is_left_in_the_middle_of_a_step() -> None:
    two = Two()
    two.stop = lambda: True
    with pytest.raises(Stopped):
        two.led.local_step(1)
    # The others wait for what the first one does next: it saves.
    assert two.led.state_dict() == {"processes": [{"left": 0}, {"left": 1}]}
    two.end()
    assert two.ended == [None]


def test_each_process_keeps_its_own_state() -> None:
    two = Two()
    two.led.load_state_dict({"processes": [{"left": 8}, {"left": 9}]})
    assert two.led.state_dict() == {"processes": [{"left": 8}, {"left": 9}]}
    two.led.load_state_dict({"processes": [{"left": 1}] * 3})
    two.end()
    assert [part.left for part in two.parts] == [0, 1], "another pod's: as at the start"


def test_what_only_one_has_is_raised_where_it_is() -> None:
    def fails(*_: int) -> int:
        raise ZeroDivisionError

    world = cast("World", OfTwo(0, Wires()))
    with pytest.raises(ZeroDivisionError):
        agreed(world, fails)
    two = Two()

    two.actions["method.ahead"] = fails
    two.led.ahead(1)
    two.thread.join(10)
    assert isinstance(two.ended[0], ZeroDivisionError), "its process ends, and so the pod"


def test_a_follower_notices_that_the_first_process_is_gone() -> None:
    two = Two()
    two.worlds[0].broadcast(RuntimeError)
    two.thread.join(10)
    assert isinstance(two.ended[0], LeaderGone)
