"""The log as bytes: reading back, and following only what leads to the announced hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.records import CorruptRecord, Kind, Record, genesis
from haversack_trainer.exchange.ledger import Forked, Ledger

RECORDS = [Record(Kind.PAYLOAD, peer, 0, bytes([peer]) * peer) for peer in range(12)]


def filled() -> Ledger:
    ledger = Ledger("run")
    for record in RECORDS:
        ledger.append(record.encode())
    return ledger


@given(st.lists(st.integers(0, len(RECORDS)), max_size=4), st.integers(1, 200))
def test_any_way_of_reading_gives_the_same_log(stops: list[int], max_bytes: int) -> None:
    hub, peer = filled(), Ledger("run")
    for stop in [*sorted(stops), len(RECORDS)]:
        while len(peer) < stop:
            tail = hub.read(len(peer), stop, max_bytes)
            peer.follow(tail.frames, tail.head)
            assert tail.next == len(peer)
    assert (peer.head, peer.read(0)) == (hub.head, hub.read(0))


def test_a_tail_that_leads_elsewhere_is_not_followed() -> None:
    hub, peer = filled(), Ledger("run")
    with pytest.raises(Forked):
        peer.follow(hub.read(0).frames, genesis("run"))
    with pytest.raises(Forked):
        peer.follow(hub.read(1).frames, hub.head)
    with pytest.raises(CorruptRecord):
        peer.follow(hub.read(0).frames[:-1], hub.head)
    assert len(peer) == 0


def test_logs_of_two_runs_never_agree() -> None:
    tail = filled().read(0)
    with pytest.raises(Forked):
        Ledger("other").follow(tail.frames, tail.head)


def test_an_empty_tail_confirms_the_head() -> None:
    peer = filled()
    assert peer.follow(b"", peer.head) == []
