"""What the hub holds in memory is bounded; what it answers is the whole log, with every hash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_bench import Bench, Shelf
from hub_harness import a_join, json_of
from hypothesis import given
from hypothesis import strategies as st
from log_story import Story

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record, chain, decode, genesis
from haversack_trainer.exchange.base import Stale
from haversack_trainer.exchange.ledger import Ledger
from haversack_trainer.exchange.log import RunState
from haversack_trainer.hub.core import Core
from haversack_trainer.hub.journal import Journal, NotStored
from haversack_trainer.hub.needs import KEPT_ROUNDS
from haversack_trainer.hub.past import NUM_SEGMENTS


def frames_of(num_rounds: int) -> list[bytes]:
    story = Story().join(0, 1).start()
    for number in range(num_rounds):
        story.publish(number, 0, 1)
    return [record.encode() for record in story.records]


def heads_of(frames: list[bytes], run: str = "run") -> list[bytes]:
    heads = [genesis(run)]
    for frame in frames:
        heads.append(chain(heads[-1], frame))
    return heads


def a_hub(frames: list[bytes], segment_records: int) -> Bench:
    """One that has been told so much of a log, and has a small memory."""
    bench = Bench()
    bench.shelf.segment_records = segment_records
    for record in decode(b"".join(frames)):
        bench.core._store(record)
    return bench


@given(st.integers(0, 40), st.lists(st.integers(0, 90), max_size=4), st.data())
def test_a_ledger_that_forgets_is_the_same_where_it_still_knows(
    num_rounds: int, floors: list[int], data: st.DataObject
) -> None:
    whole, short, frames = Ledger("run"), Ledger("run"), frames_of(num_rounds)
    for number, frame in enumerate(frames):
        whole.append(frame)
        short.append(frame)
        if number in floors:
            short.forget(data.draw(st.integers(0, number + 1)))
    assert (len(short), short.num_bytes, short.head) == (len(whole), whole.num_bytes, whole.head)
    start = data.draw(st.integers(short.floor, len(short)))
    limit = data.draw(st.none() | st.integers(1, 200))
    assert short.read(start, None, limit) == whole.read(start, None, limit)
    assert short.head_at(start) == whole.head_at(start)


@given(st.integers(0, 60), st.integers(2, 30), st.data())
def test_whoever_asks_from_wherever_reads_the_whole_log_by_right_hashes(
    num_rounds: int, segment_records: int, data: st.DataObject
) -> None:
    frames = frames_of(num_rounds)
    core, heads = a_hub(frames, segment_records).core, heads_of(frames)
    at = data.draw(st.integers(0, len(frames)))
    rest, pieces = b"".join(frames[at:]), b""
    while at < len(frames):
        core.poll(0, "i0", at, heads[at].hex())
        with pytest.raises(Stale):
            core.poll(0, "i0", at, "0" * 64)
        tail = core.read(at, len(frames))
        assert (tail.next > at, tail.head) == (True, heads[tail.next])
        pieces, at = pieces + tail.frames, tail.next
    assert pieces == rest
    assert len(core) - core.book.ledger.floor <= NUM_SEGMENTS * segment_records


def test_closed_rounds_are_forgotten_as_well_and_the_state_goes_on_alike() -> None:
    num_rounds = 3 * KEPT_ROUNDS
    frames = frames_of(num_rounds)
    state, whole = a_hub(frames, 100).core.book.state, RunState()
    for record in decode(b"".join(frames)):
        whole.apply(record)
    assert KEPT_ROUNDS <= len(state.closed) <= 2 * KEPT_ROUNDS
    assert state.closed == whole.closed[-len(state.closed) :]
    assert state.closed_round(num_rounds - 1) == whole.closed_round(num_rounds - 1)
    assert (state.closed_round(0), state.closed_round(num_rounds)) == (None, None)
    state.closed, whole.closed = [], []
    assert state == whole


@given(st.integers(1, 40), st.integers(2, 30), st.data())
def test_a_refill_goes_on_from_what_a_hub_still_has_or_is_refused(
    num_rounds: int, segment_records: int, data: st.DataObject
) -> None:
    frames = frames_of(num_rounds)
    known = data.draw(st.integers(1, len(frames)))
    bench = Bench(incomplete=True)
    bench.shelf.segment_records = segment_records
    for record in decode(b"".join(frames[:known])):
        bench.core._store(record)
    other = [*frames_of(num_rounds)[:-1], Record(Kind.LEAVE, 0, 0, b"another end").encode()]
    if known == len(frames):
        with pytest.raises(Stale):
            bench.core.refill(b"".join(other), heads_of(other)[-1].hex())
    bench.core.refill(b"".join(frames), heads_of(frames)[-1].hex())
    assert bench.core.book.ledger.head == heads_of(frames)[-1]
    assert b"".join(bench.shelf.frames) == b"".join(frames)


def a_core(folder: Path) -> tuple[Core, Journal]:
    journal = Journal(folder, "run", segment_bytes=200)
    return Core(
        "run",
        journal,
        rounds=5,
        lease_seconds=10.0,
        clock=lambda: 0.0,
        recovered=journal.records(),
    ), journal


def test_a_hub_that_restarts_reads_its_disk_and_keeps_as_little(tmp_path: Path) -> None:
    core, journal = a_core(tmp_path)
    core.append(0, Record(Kind.JOIN, 0, 0, json_of(a_join("i0"))).encode(), "i0")
    core.append(0, Record(Kind.START, 0, 0, json_of(Start())).encode(), "i0")
    for number in range(100):
        core.append(0, Record(Kind.PAYLOAD, 0, number, b"x").encode(), "i0")
    journal.close()
    again, journal = a_core(tmp_path)
    journal.close()
    assert again.book.state == core.book.state
    assert (len(again), again.book.ledger.head) == (102, core.book.ledger.head)
    assert again.book.ledger.floor == core.book.ledger.floor > 80
    for start in range(102):
        assert again.read(start, 102) == core.read(start, 102)
    assert again.read(50, 102).head == again._past.head_at(again.read(50, 102).next)


def test_a_disk_that_does_not_give_back_is_said_and_the_hub_goes_on(tmp_path: Path) -> None:
    core, journal = a_core(tmp_path)
    core.append(0, Record(Kind.JOIN, 0, 0, json_of(a_join("i0"))).encode(), "i0")
    core.append(0, Record(Kind.START, 0, 0, json_of(Start())).encode(), "i0")
    for number in range(100):
        core.append(0, Record(Kind.PAYLOAD, 0, number, b"x").encode(), "i0")
    min(tmp_path.glob("log-*.seg")).unlink()
    with pytest.raises(NotStored, match=r"does not give .* back: No such file"):
        core.read(0, 102)
    core.poll(0, "i0", 102, core.book.ledger.head.hex())
    journal.close()


def test_segments_of_the_fake_are_those_of_the_log() -> None:
    shelf = Shelf(segment_records=2)
    for frame in frames_of(1):
        shelf.append(frame)
    assert [shelf.segment(start) for start in shelf.starts] == [
        b"".join(frames_of(1)[at : at + 2]) for at in (0, 2, 4)
    ]
