"""What happens in a round, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from run_harness import Crew, PeerThread
from torch import Tensor

from haversack_trainer.exchange.base import Outgoing, Stop, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import Fetch, Method, StepResult


@dataclass
class Told:
    """A method that says what it is asked for."""

    method: Method
    calls: list[tuple[str, int]]

    def local_step(self, round: int) -> StepResult:
        self.calls.append(("local step", round))
        return self.method.local_step(round)

    def outgoing(self) -> Outgoing:
        return self.method.outgoing()

    def ahead(self, round: int) -> None:
        self.calls.append(("ahead", round))
        self.method.ahead(round)

    def incoming(self, swap: Swap) -> dict[str, float]:
        self.calls.append(("incoming", swap.closed.round))
        return self.method.incoming(swap)

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch, /) -> None:
        self.method.catch_up(history, fetch)

    def consensus(self, closed: ClosedRound, fetch: Fetch, /) -> dict[str, Tensor]:
        return self.method.consensus(closed, fetch)

    def state_dict(self) -> dict[str, Any]:
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state)


@dataclass
class Heard:
    """The calls of one peer, its method's and its exchange's in between."""

    peer: PeerThread
    calls: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        exchange = self.peer.exchange
        publish, collect = exchange.publish, exchange.collect

        def published(round: int, outgoing: Outgoing, stop: Stop) -> None:
            publish(round, outgoing, stop)
            self.calls.append(("publish", round))

        def collected(round: int, stop: Stop) -> Swap:
            self.calls.append(("collect", round))
            return collect(round, stop)

        exchange.publish, exchange.collect = published, collected  # type: ignore[method-assign]
        seat = self.peer._peer._seat
        self.peer._peer._seat = replace(seat, method=Told(seat.method, self.calls))


def test_work_ahead_is_done_while_the_round_is_under_way_and_not_beyond_the_last(
    crew: Callable[..., Crew],
) -> None:
    pair = crew(training={"rounds": 2, "batchSize": 4, "seed": 17})
    heard = Heard(pair.peers[1])
    pair.run()
    assert len(pair.survivors) == 2
    assert heard.calls == [
        ("local step", 0),
        ("publish", 0),
        ("ahead", 1),
        ("collect", 0),
        ("incoming", 0),
        ("local step", 1),
        ("publish", 1),
        ("collect", 1),
        ("incoming", 1),
    ]
