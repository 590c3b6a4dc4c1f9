"""A leader that is not in step with the others: it neither saves nor publishes what it takes for the adapter."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from run_harness import Crew, PeerThread

from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import CannotCatchUp, Fetch, Method, NoConsensus
from haversack_trainer.report.events import StoodIn, read_events

LAST: Final = 5
"""Of the rounds, which are counted from 0."""


class OutOfStep:
    """A method that never knows the run's adapter."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def consensus(self, *_: Any) -> Any:
        raise NoConsensus("this peer waits for the others' state")


def put_out_of_step(peer: PeerThread) -> None:
    seat = peer._peer._seat
    peer._peer._seat = replace(seat, method=OutOfStep(seat.method))


def test_another_peer_finishes_the_run(crew: Callable[..., Crew]) -> None:
    pair = crew()
    put_out_of_step(pair.peers[0])
    pair.run()
    assert len(pair.survivors) == 2
    state = pair.peers[1].exchange.state
    assert state.publication is not None
    assert state.evaluation is None, "the leader of all rounds left it out"
    assert state.view[0] == 1


def test_if_nobody_knows_better_its_own_adapter_is_judged(crew: Callable[..., Crew]) -> None:
    pair = crew()
    for peer in pair.peers.values():
        put_out_of_step(peer)
    pair.run()
    assert len(pair.survivors) == 2
    assert pair.peers[0].exchange.state.publication is not None


class WithoutMean(OutOfStep):
    """A method whose states are too few for an average, but in the end."""

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> Any:
        if closed.round < LAST:
            raise CannotCatchUp("too few sound states")
        return self._method.consensus(closed, fetch)


def test_that_one_s_own_adapter_stood_in_for_the_mean_is_in_the_report_with_its_rounds(
    crew: Callable[..., Crew], tmp_path: Path
) -> None:
    """And no longer in the peer's word once there is a mean again."""
    pair = crew()
    seat = pair.peers[0]._peer._seat
    pair.peers[0]._peer._seat = replace(seat, method=WithoutMean(seat.method))
    pair.run()
    (page,) = (tmp_path / "store").rglob("report.html")
    words = "After 3 rounds from 1 to 3, peer 0's own adapter stood in for the mean of all: too few sound states."
    assert words in html.unescape(page.read_text())
    events = read_events(tmp_path / "store" / "job" / "events.jsonl")
    assert [event.round for event in events if isinstance(event, StoodIn)] == [1, 2, 3]
    assert pair.peers[0].exchange.peer_reports()[0].remark == ""


class Garbled:
    """A method whose payloads nobody can read."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def outgoing(self) -> Outgoing:
        return replace(self._method.outgoing(), blob=b"garbled")


def test_a_peer_that_sends_what_nobody_can_read_is_counted_and_the_others_publish(
    crew: Callable[..., Crew], tmp_path: Path
) -> None:
    three = crew("DecLoRA", peers=3, settings={"localSteps": 1})
    seat = three.peers[2]._peer._seat
    three.peers[2]._peer._seat = replace(seat, method=Garbled(seat.method))
    three.run()
    assert three.peers[0].exchange.state.publication is not None
    reports = three.peers[0].exchange.peer_reports()
    assert [reports[peer].refused for peer in (0, 1, 2)] == [{2: 6}, {2: 6}, {}]
    assert [reports[peer].steps for peer in (0, 1, 2)] == [6, 6, 6]
    (page,) = (tmp_path / "store").rglob("report.html")
    assert "did not count: peer 2 in 6 rounds" in page.read_text()
