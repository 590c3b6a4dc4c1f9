from __future__ import annotations

from hub_harness import a_join, json_of

from haversack_trainer.contract.membership import CheckpointRef, Start
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.contract.report import PeerReport
from haversack_trainer.exchange.log import RunState
from haversack_trainer.loop.chronicle import Chronicle, Seen
from haversack_trainer.report.events import Approved, CheckpointSaved, PeerLeft, RoundClosed


def a_run(*peers: int) -> RunState:
    """Joined and started."""
    state = RunState()
    for peer in peers:
        state.apply(Record(Kind.JOIN, peer, 0, json_of(a_join(f"i{peer}"))))
    state.apply(Record(Kind.START, peers[0], 0, json_of(Start())))
    return state


def publish(state: RunState, number: int, *peers: int, body: bytes = b"12345678") -> None:
    for peer in peers:
        state.apply(Record(Kind.PAYLOAD, peer, number, body))


def test_nothing_is_told_before_the_start() -> None:
    state = RunState()
    state.apply(Record(Kind.JOIN, 0, 0, json_of(a_join())))
    assert not list(Chronicle("run").tell(state, Seen()))


def test_everything_is_told_once_and_in_order() -> None:
    state, chronicle = a_run(0, 1), Chronicle("run")
    first = [event.kind for event in chronicle.tell(state, Seen())]
    assert first == ["RunStarted", "PeerJoined", "PeerJoined"]
    publish(state, 0, 0, 1)
    assert [event.kind for event in chronicle.tell(state, Seen())] == ["RoundClosed"]
    assert not list(chronicle.tell(state, Seen()))


def test_a_round_has_its_members_bytes_and_known_losses() -> None:
    state, chronicle = a_run(0, 1, 2), Chronicle("run")
    list(chronicle.tell(state, Seen()))
    publish(state, 0, 0, 1)
    publish(state, 0, 2, body=b"")
    reports = {
        0: PeerReport(peer=0, round=0, loss=0.5),
        1: PeerReport(peer=1, round=7, loss=0.1),
        2: PeerReport(peer=2, round=0, loss=None),
    }
    seen = Seen(blob_bytes=100, seconds=2.0, metrics={"distance": 3.0}, reports=reports)
    (closed,) = chronicle.tell(state, seen)
    assert isinstance(closed, RoundClosed)
    assert closed.members == (0, 1, 2)
    assert closed.losses == {0: 0.5, 2: None}
    assert closed.payload_bytes == 2 * 108
    assert (closed.seconds, closed.metrics) == (2.0, {"distance": 3.0})


def test_own_measurements_are_of_the_newest_round_only() -> None:
    state, chronicle = a_run(0), Chronicle("run")
    publish(state, 0, 0)
    publish(state, 1, 0)
    rounds = [e for e in chronicle.tell(state, Seen(seconds=1.0)) if isinstance(e, RoundClosed)]
    assert [(e.round, e.seconds) for e in rounds] == [(0, None), (1, 1.0)]


def test_leaving_checkpoints_and_approval_are_told() -> None:
    state, chronicle = a_run(0, 1), Chronicle("run")
    list(chronicle.tell(state, Seen()))
    ref = CheckpointRef(round=0, key="k", digest="d")
    state.apply(Record(Kind.LEAVE, 1, 0, b"stopped"))
    state.apply(Record(Kind.CHECKPOINT, 0, 2, ref.model_dump_json(by_alias=True).encode()))
    state.apply(Record(Kind.APPROVAL, OPERATOR, 0, b"alice"))
    left, saved, approved = chronicle.tell(state, Seen())
    assert isinstance(left, PeerLeft)
    assert (left.peer, left.reason) == (1, "stopped")
    assert isinstance(saved, CheckpointSaved)
    assert saved.checkpoint == ref
    assert isinstance(approved, Approved)
    assert approved.by == "alice"
