"""The hub's decisions with a clock that the test winds."""

from __future__ import annotations

import pytest
from checkpoint_cases import a_verdict
from hub_bench import Bench, Shelf
from hub_harness import a_join, json_of
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import OPERATOR, CorruptRecord, Kind, Record
from haversack_trainer.contract.report import PeerReport, Publication
from haversack_trainer.exchange.base import Evicted, Refused, Stale, Superseded
from haversack_trainer.hub.core import Behind, Core, Settling
from haversack_trainer.hub.journal import NotStored


def test_a_peer_that_stops_polling_leaves_after_its_lease() -> None:
    bench = Bench().started()
    bench.pass_seconds(9, 0)
    assert len(bench.view) == 2
    bench.pass_seconds(2, 0)
    assert 1 not in bench.view
    assert bench.core.book.state.history[-1].reason == "lease expired"
    with pytest.raises(Evicted, match="lease expired"):
        bench.poll(1)
    with pytest.raises(Evicted):
        bench.append(Record(Kind.PAYLOAD, 1, 0, b"x"))


def test_a_pending_peer_s_lease_expires_too() -> None:
    bench = Bench().started()
    bench.append(Record(Kind.JOIN, 2, 0, json_of(a_join("i2"))))
    bench.pass_seconds(11, 0, 1)
    assert bench.core.book.state.pending == ()


def test_time_in_which_the_hub_slept_expires_nobody() -> None:
    bench = Bench().started()
    bench.clock.now += 3600
    assert bench.core.tick() == 0
    bench.pass_seconds(5, 0, 1)
    assert bench.view == (0, 1)


def test_an_expired_peer_closes_the_round_for_the_others() -> None:
    bench = Bench().started()
    bench.append(Record(Kind.PAYLOAD, 0, 0, b"x"))
    mark = bench.core.wake_mark
    bench.pass_seconds(11, 0)
    assert bench.core.book.state.closed[0].members == (0,)
    assert bench.core.wake_mark > mark


def test_a_payload_that_leaves_the_round_open_wakes_nobody() -> None:
    bench = Bench().started()
    mark = bench.core.wake_mark
    bench.append(Record(Kind.PAYLOAD, 0, 0, b"x"))
    assert bench.core.wake_mark == mark
    bench.append(Record(Kind.PAYLOAD, 1, 0, b"y"))
    assert bench.core.wake_mark == len(bench.core)


def test_a_full_disk_refuses_the_record_and_keeps_the_state() -> None:
    bench = Bench().started()
    bench.shelf.room = len(bench.shelf.frames)
    with pytest.raises(NotStored):
        bench.append(Record(Kind.PAYLOAD, 0, 0, b"x"))
    assert (len(bench.core), bench.core.book.state.published_in_round) == (3, frozenset())
    bench.shelf.room += 1
    assert bench.append(Record(Kind.PAYLOAD, 0, 0, b"x")) == 3


def test_all_who_wait_at_the_same_place_share_one_answer() -> None:
    core = Bench().started().core
    assert core.read(1, 3).frames is core.read(1, 3).frames


def test_a_hub_with_an_empty_disk_waits_for_its_log_then_for_all_members() -> None:
    old = Bench().started()
    frames, head = b"".join(old.shelf.frames), old.core.book.ledger.head.hex()
    bench = Bench(incomplete=True)
    with pytest.raises(Settling):
        bench.append(Record(Kind.JOIN, 7, 0, json_of(a_join("i7"))))
    with pytest.raises(Behind):
        bench.core.poll(0, "i0", 3, head)
    bench.core.refill(frames[: len(frames) - len(old.shelf.frames[-1])], old_head(old, 2))
    bench.poll(0)
    with pytest.raises(Settling):
        bench.append(Record(Kind.CHECKPOINT, 0, 0, b"{}"))
    bench.core.refill(frames, head)
    bench.poll(1)
    assert bench.append(Record(Kind.PAYLOAD, 0, 0, b"x")) == 3
    assert bench.core.book.state.identity == old.core.book.state.identity


def old_head(bench: Bench, position: int) -> str:
    return bench.core.book.ledger.head_at(position).hex()


def test_a_hub_whose_peers_are_all_gone_starts_over_after_a_lease() -> None:
    bench = Bench(incomplete=True)
    bench.pass_seconds(11)
    assert bench.append(Record(Kind.JOIN, 7, 0, json_of(a_join("i7")))) == 0


def test_a_refill_that_does_not_continue_the_log_is_refused() -> None:
    old, bench = Bench().started(), Bench(incomplete=True)
    frames, head = b"".join(old.shelf.frames), old.core.book.ledger.head.hex()
    with pytest.raises(Stale, match="not a continuation"):
        bench.core.refill(frames, "00" * 32)
    with pytest.raises(CorruptRecord):
        bench.core.refill(frames[:-1], head)
    bench.core.refill(frames[: len(old.shelf.frames[0])], old_head(old, 1))
    other = Record(Kind.JOIN, 5, 0, json_of(a_join("i5"))).encode()
    fork = Core("run", Shelf(), rounds=1, lease_seconds=1, clock=bench.clock)
    fork.append(5, other, "i5")
    with pytest.raises(Stale, match="not a continuation"):
        bench.core.refill(other, fork.book.ledger.head.hex())


def test_blobs_are_needed_for_three_rounds_and_then_past_once() -> None:
    bench = Bench().started()
    digests = [bytes([number]) * 32 for number in range(6)]
    past: list[str] = []
    for number, digest in enumerate(digests):
        for peer in (0, 1):
            bench.append(Record(Kind.PAYLOAD, peer, number, digest))
        past += bench.core.past_blobs()
    assert past == [digest.hex() for digest in digests[:3] for _ in (0, 1)]
    assert bench.core.needed_blobs() == {digest.hex() for digest in digests[3:]}


def test_what_needed_blobs_build_on_is_needed_too() -> None:
    """A payload's ``aux`` counts the earlier blobs of its peer that its own builds on."""
    bench = Bench().started()
    for number in range(9):
        for peer, aux in ((0, number % 7), (1, -5)):
            bench.append(Record(Kind.PAYLOAD, peer, number, bytes([peer, number]) * 16, aux))
    chain = {bytes([0, number]) * 16 for number in range(9)}
    recent = {bytes([1, number]) * 16 for number in (6, 7, 8)}
    assert bench.core.needed_blobs() == {digest.hex() for digest in chain | recent}


def test_an_adapter_cannot_be_published_past_leader_gate_and_approval() -> None:
    bench = Bench(needs_approval=True).started()
    published = Publication(uri="s3://evil/x", digest="0", size_bytes=1, round=0)
    body = published.model_dump_json(by_alias=True).encode()
    with pytest.raises(Stale, match="for the lowest member to write, peer 0, not peer 1"):
        bench.append(Record(Kind.PUBLISHED, 1, 0, body))
    with pytest.raises(Stale, match="not passed its gate"):
        bench.append(Record(Kind.PUBLISHED, 0, 0, body))
    verdict = a_verdict(0)
    bench.append(Record(Kind.VERDICT, 0, 0, verdict.model_dump_json(by_alias=True).encode()))
    with pytest.raises(Stale, match="not been approved"):
        bench.append(Record(Kind.PUBLISHED, 0, 0, body))
    bench.append(Record(Kind.APPROVAL, OPERATOR, 0, b"somebody"))
    bench.append(Record(Kind.PUBLISHED, 0, 0, body))
    assert bench.core.progress().published == published


def test_a_process_whose_place_a_newer_one_has_is_told_for_good() -> None:
    bench = Bench().started()
    bench.append(Record(Kind.JOIN, 1, 0, json_of(a_join("i1-new", attempt=1))))
    with pytest.raises(Superseded, match="newer process in this run"):
        bench.append(Record(Kind.JOIN, 1, 0, json_of(a_join("i1-old"))))


@given(st.binary(max_size=300), st.integers(0, 0xFFFF), st.text(max_size=5))
def test_no_bytes_whatever_do_more_than_be_refused(
    data: bytes, author: int, incarnation: str
) -> None:
    bench = Bench().started()
    with pytest.raises((CorruptRecord, Refused, Stale, Evicted)):
        bench.core.append(author, data, incarnation)
    assert len(bench.core) == 3


@given(
    kind=st.sampled_from(list(Kind)),
    peer=st.integers(0, 3),
    round=st.integers(0, 3),
    body=st.binary(max_size=40) | st.sampled_from([json_of(a_join("i0")), json_of(Start())]),
    author=st.integers(0, 3),
)
def test_sound_frames_are_stored_whole_or_refused(
    kind: Kind, peer: int, round: int, body: bytes, author: int
) -> None:
    bench = Bench().started()
    frame = Record(kind, peer, round, body).encode()
    try:
        appended = bench.core.append(author, frame, f"i{author}")
    except (CorruptRecord, Refused, Stale, Evicted):
        assert len(bench.core) == 3
    else:
        assert peer == author
        assert bench.core.book.ledger.read(appended.position).frames[: len(frame)] == frame


def test_what_a_peer_sent_is_not_forgotten_with_its_process() -> None:
    bench = Bench().started()
    for sent in (500, 700, 30, 40):
        bench.core.report(1, "i1", PeerReport(peer=1, bytes_sent=sent))
    (report,) = bench.core.progress().peers
    assert report.bytes_sent == 700 + 40
