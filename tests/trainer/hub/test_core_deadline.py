"""When the hub closes a round that somebody keeps waiting, with a clock that the test winds."""

from __future__ import annotations

import pytest
from hub_bench import Bench

from haversack_trainer.contract.records import HUB, MAX_LATE_ROUNDS, Kind, Record, decode
from haversack_trainer.exchange.admission import Forged
from haversack_trainer.exchange.base import Stale
from haversack_trainer.exchange.rounds import ClosedRound

SECONDS = 3.0


def payload(peer: int, round: int, body: bytes = b"x") -> Record:
    return Record(Kind.PAYLOAD, peer, round, body)


def bench() -> Bench:
    return Bench(deadline_seconds=SECONDS).started()


def closed(bench: Bench) -> list[ClosedRound]:
    return bench.core.book.state.closed


def deadlines(bench: Bench) -> list[int]:
    records = decode(b"".join(bench.shelf.frames))
    return [record.round for record in records if record.kind is Kind.DEADLINE]


def test_the_time_begins_with_the_first_payload() -> None:
    slow = bench()
    slow.pass_seconds(5, 0, 1)
    slow.append(payload(0, 0))
    slow.pass_seconds(2, 0, 1)
    assert not closed(slow)
    slow.pass_seconds(1, 0, 1)
    assert (closed(slow)[0].members, closed(slow)[0].missed) == ((0,), (1,))
    assert slow.view == (0, 1)
    assert slow.core.wake_mark == len(slow.core)


def test_without_a_deadline_a_round_waits() -> None:
    slow = Bench().started()
    slow.append(payload(0, 0))
    slow.pass_seconds(500, 0, 1)
    assert not closed(slow)


def test_a_round_that_closed_in_time_leaves_the_next_its_whole_time() -> None:
    both = bench()
    both.append(payload(0, 0))
    both.pass_seconds(2, 0, 1)
    both.append(payload(1, 0))
    both.append(payload(0, 1))
    both.pass_seconds(2, 0, 1)
    assert len(closed(both)) == 1
    both.pass_seconds(1, 0, 1)
    assert deadlines(both) == [1]


def test_a_round_that_starts_over_begins_its_time_anew() -> None:
    alone = bench()
    alone.append(payload(0, 0))
    alone.pass_seconds(2, 0, 1)
    alone.append(Record(Kind.LEAVE, 0, 0, b"stopped"))
    assert alone.core.book.state.published_in_round == frozenset()
    alone.pass_seconds(5, 1)
    assert not closed(alone)


def test_a_hub_that_restarts_closes_once_and_after_the_whole_time() -> None:
    first = bench()
    first.append(payload(0, 0))
    first.pass_seconds(2, 0, 1)
    second = Bench(deadline_seconds=SECONDS, recovered=list(decode(b"".join(first.shelf.frames))))
    second.pass_seconds(2, 0, 1)
    assert not closed(second)
    second.pass_seconds(4, 0, 1)
    assert deadlines(second) == [0]
    third = Bench(deadline_seconds=SECONDS, recovered=[*decode_all(first), *decode_all(second)])
    third.pass_seconds(9, 0, 1)
    assert deadlines(third) == []
    assert len(closed(third)) == 1


def decode_all(bench: Bench) -> list[Record]:
    return list(decode(b"".join(bench.shelf.frames)))


def test_a_hub_that_lost_its_disk_waits_for_its_log_and_then_the_whole_time() -> None:
    old, new = bench(), Bench(incomplete=True, deadline_seconds=SECONDS)
    old.append(payload(0, 0))
    new.pass_seconds(5)
    new.core.refill(b"".join(old.shelf.frames), old.core.book.ledger.head.hex())
    new.clock.now += 1
    new.core.tick()
    assert not closed(new)
    new.pass_seconds(2, 0, 1)
    assert not closed(new)
    new.pass_seconds(2, 0, 1)
    assert deadlines(new)[-1:] == [0]
    assert len(closed(new)) == 1


def test_time_in_which_the_hub_slept_is_not_the_peers() -> None:
    slept = bench()
    slept.append(payload(0, 0))
    slept.clock.now += 3600
    slept.core.tick()
    assert not closed(slept)
    slept.pass_seconds(3, 0, 1)
    assert closed(slept)


def test_no_peer_closes_a_round_early() -> None:
    slow = bench()
    slow.append(payload(0, 0))
    for author, peer in ((0, 0), (0, HUB)):
        frame = Record(Kind.DEADLINE, peer, 0).encode()
        with pytest.raises(Forged):
            slow.core.append(author, frame, f"i{author}")


def test_a_late_payload_is_taken_once_and_a_repeated_one_is_known() -> None:
    slow = bench()
    slow.append(payload(0, 0))
    slow.pass_seconds(3, 0, 1)
    position = slow.append(payload(1, 0))
    assert slow.append(payload(1, 0)) == position
    with pytest.raises(Stale, match="published for round 0, but round 1 is open"):
        slow.append(payload(1, 0, b"other"))
    with pytest.raises(Stale):
        slow.append(payload(0, 0, b"again"))


def test_what_is_too_late_is_refused() -> None:
    slow = bench()
    for number in range(MAX_LATE_ROUNDS + 1):
        slow.append(payload(0, number))
        slow.pass_seconds(3, 0, 1)
    with pytest.raises(Stale):
        slow.append(payload(1, 0))
    slow.append(payload(1, 1))
