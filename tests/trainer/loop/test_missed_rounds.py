"""Peers that come in the middle, go without a word, or are too slow even to be late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from run_harness import Crew, Killed, Memory, PeerThread, never, wait_until

from haversack_trainer.contract.records import MAX_LATE_ROUNDS
from haversack_trainer.exchange.base import ExchangeError
from haversack_trainer.exchange.log import ClosedRound, RunState
from haversack_trainer.methods.declora.word import words

Crewed = Callable[..., Crew]


def log_of(crew: Crew) -> Any:
    assert isinstance(crew.transport, Memory)
    return crew.transport.log


def digests(peers: Iterable[PeerThread]) -> set[str]:
    return {peer.material.model.trainables_digest() for peer in peers}


def test_what_comes_too_late_even_for_late_is_dropped_and_its_peer_catches_up(crew: Crewed) -> None:
    rounds = MAX_LATE_ROUNDS + 4
    two = crew("SPSA", training={"rounds": rounds, "batchSize": 4})
    slow, log = two.peers[1], log_of(two)

    def for_many_rounds() -> bool:
        while slow.round == 1 and log.book.state.round < rounds - 1:
            wait_until(lambda: log.book.state.published_in_round == {0})
            log.close_round()
        return False

    slow.stop = for_many_rounds
    two.run()
    closed = two.survivors[0].exchange.state.closed
    assert [each.members for each in closed] == [(0, 1), *[(0,)] * (rounds - 2), (0, 1)]
    assert not any(each.late for each in closed)
    assert len(two.survivors) == 2
    assert len(digests(two.survivors)) == 1


def test_a_volunteer_comes_by_snapshot_and_tail_and_goes_by_unplugging(crew: Crewed) -> None:
    three = crew("SPSA", peers=3, minPeers=2, gangTimeoutSeconds=1)
    early, volunteer = three.peers[0], three.peers[2]
    replayed: list[int] = []
    catch_up = volunteer._peer._seat.method.catch_up

    def spy(history: Iterable[ClosedRound], fetch: Any) -> None:
        rounds = list(history)
        replayed.extend(closed.round for closed in rounds)
        catch_up(rounds, fetch)

    volunteer._peer._seat.method.catch_up = spy  # type: ignore[method-assign]

    def when_the_volunteer_is_there() -> bool:
        if early.round == 3:
            wait_until(lambda: early.exchange.wait_for(has_two, never, 0))
        return False

    def has_two(state: RunState) -> bool:
        return state.is_member(2)

    def unplugged() -> bool:
        if volunteer.round >= 5:
            raise Killed
        return False

    early.stop, volunteer.stop = when_the_volunteer_is_there, unplugged
    volunteer.begin = lambda: wait_until(lambda: early.round >= 3)
    three.run()
    members: Mapping[int, tuple[int, ...]] = {
        closed.round: closed.members for closed in early.exchange.state.closed
    }
    assert members == {**dict.fromkeys(range(4), (0, 1)), 4: (0, 1, 2), 5: (0, 1)}
    # Of the checkpoint after round 2 or 4; never from the start.
    assert replayed in ([2, 3], [])
    assert isinstance(volunteer.error, Killed)
    assert len(digests(three.survivors)) == 1


def test_over_matchings_a_slow_peer_holds_nobody_and_what_it_brings_late_is_mixed(
    crew: Crewed,
) -> None:
    settings = {"graph": "Matchings", "maxStaleness": 3, "localSteps": 2}
    three = crew("DecLoRA", peers=3, settings=settings)
    slow, log = three.peers[2], log_of(three)

    def twice_too_slow() -> bool:
        number = slow.round
        if number in {1, 2} and log.book.state.round == number:
            wait_until(lambda: log.book.state.published_in_round == {0, 1})
            log.close_round()
        return False

    slow.stop = twice_too_slow
    three.run()
    closed = three.survivors[0].exchange.state.closed
    assert [each.missed for each in closed] == [(), (2,), (2,), (), (), ()]
    assert [(late.round, late.payload.peer) for late in closed[2].late] == [(1, 2)]
    assert list(words(closed[2], 3)) == [0, 1, 2]
    assert len(three.survivors) == 3
    first, *others = (peer.consensus() for peer in three.survivors)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_by_push_sum_a_blob_that_is_lost_costs_nobody_the_run(crew: Crewed) -> None:
    settings = {"weights": "PushSum", "localSteps": 2}
    three = crew("DecLoRA", peers=3, settings=settings, training={"rounds": 4, "batchSize": 4})
    exchange = three.peers[1].exchange
    fetch = exchange.fetch

    def lossy(closed: ClosedRound, peer: int) -> bytes:
        if (closed.round, peer) == (1, 2):
            raise ExchangeError("the blob is gone")
        return fetch(closed, peer)

    exchange.fetch = lossy  # type: ignore[method-assign]
    three.run()
    assert len(three.survivors) == 3
    closed = three.survivors[0].exchange.state.closed
    said = [words(each) for each in closed]
    assert said[2][1].lost == ((1, 2),)
    masses = [sum(word.mass or 0 for word in each.values()) for each in said]
    assert [round(mass, 9) for mass in masses] == [3, 3, round(3 - 1 / 3, 9), 3]
    first, *others = (peer.consensus() for peer in three.survivors)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
