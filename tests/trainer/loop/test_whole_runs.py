"""What the loop does about gates, approvals, evictions, failing stores and bad peers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from checkpoint_cases import NoRoomFor
from run_harness import Crew, Killed, Memory, PeerThread, wait_until

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.membership import Join
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.exchange.base import Superseded
from haversack_trainer.exchange.log import RunState
from haversack_trainer.report.events import Evaluated, PeerJoined, RoundClosed, parse_events

Crewed = Callable[..., Crew]
ROUNDS = 6


def state_of(crew: Crew) -> RunState:
    return crew.survivors[0].exchange.state


def log_of(crew: Crew) -> Any:
    assert isinstance(crew.transport, Memory)
    return crew.transport.log


def events(peer: PeerThread) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (peer.work / "events.jsonl").read_text().splitlines()]


def kinds(peer: PeerThread) -> list[str]:
    return [event["kind"] for event in events(peer)]


def once(act: Callable[[], None], when: Callable[[], bool]) -> Callable[[], bool]:
    """A ``stop`` that never stops, but acts the first time that it may."""
    done: list[bool] = []

    def stop() -> bool:
        if not done and when():
            done.append(True)
            act()
        return False

    return stop


def approve(crew: Crew) -> None:
    log_of(crew).append(OPERATOR, Record(Kind.APPROVAL, OPERATOR, 0, b"alice"), "")


def test_every_peer_writes_the_same_story(crew: Crewed) -> None:
    two = crew()
    two.run()
    for peer in two.survivors:
        told = kinds(peer)
        assert told[0] == "RunStarted"
        assert told.count("RoundClosed") == ROUNDS
        assert told.count("Evaluated") == 2
        assert told.count("CheckpointSaved") >= 1
        assert told[-2:] == ["VerdictGiven", "Published"]
    reports = log_of(two).reports
    assert {report.state for report in reports.values()} == {"Done"}
    assert reports[0].samples == ROUNDS * 8 * 4


def test_a_process_whose_place_a_newer_one_has_ends_and_says_so(crew: Crewed) -> None:
    two = crew()
    first, second = two.peers[0], two.peers[1]

    def a_newer_process_joins() -> None:
        join = Join(identity=second.material.identity, attempt=1, incarnation="newer")
        body = join.model_dump_json(by_alias=True).encode()
        log_of(two).append(1, Record(Kind.JOIN, 1, 0, body), "newer")

    second.stop = once(a_newer_process_joins, lambda: second.round >= 2)
    # The newer one leaves only then, so that the older one could not have come back before.
    first.stop = once(lambda: log_of(two).expire(1), lambda: second.error is not None)
    two.run()
    assert isinstance(second.error, Superseded)
    assert "peer 1 has a newer process in this run (attempt 1, this is 0)" in str(second.error)
    assert state_of(two).publication is not None


def test_a_failed_gate_publishes_nothing_and_still_reports(
    crew: Crewed, data: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    other = {"parsing": "paths", "paths": "parsing"}
    lies = tmp_path / "lies.jsonl"
    told = ({"text": f"{r['text']} indeed", "label": other[r["label"]]} for r in rows)
    lies.write_text("".join(json.dumps(row) + "\n" for row in told))
    dataset = {"uri": f"file://{data}", "maxLength": 16, "heldOut": {"uri": f"file://{lies}"}}
    two = crew("DecLoRA", dataset=dataset, evaluation={"gate": {"tolerance": "0"}})
    two.run()
    verdict = state_of(two).verdict
    assert verdict is not None
    assert not verdict.passed
    assert state_of(two).publication is None
    store = tmp_path / "store" / "job"
    assert not (store / "latest.json").exists()
    report = (store / "report.html").read_text()
    assert verdict.reason.partition(":")[0] in report
    ledger = log_of(two).book.ledger
    assert any(ledger.head_at(end).hex() in report for end in range(len(ledger) + 1))


def test_manual_approval_is_waited_for(crew: Crewed) -> None:
    evaluation = {"gate": {"tolerance": "10", "approval": "Manual"}}
    two = crew(evaluation=evaluation)
    first = two.peers[0]
    waiting: list[bool] = []

    def asked() -> None:
        waiting.append(first.exchange.state.publication is None)
        # From another thread: an exchange is one thread's.
        Thread(target=partial(approve, two)).start()

    first.stop = once(asked, lambda: first.exchange.state.verdict is not None)
    two.run()
    assert waiting == [True]
    assert state_of(two).approved_by == "alice"
    assert kinds(first)[-3:] == ["VerdictGiven", "Approved", "Published"]


def test_when_the_leader_dies_after_its_verdict_the_next_one_publishes(crew: Crewed) -> None:
    two = crew(evaluation={"gate": {"tolerance": "10", "approval": "Manual"}})
    first, second = two.peers[0], two.peers[1]

    def power_cut() -> bool:
        if first.exchange.state.verdict is not None:
            raise Killed
        return False

    first.stop = power_cut
    second.stop = once(
        lambda: Thread(target=partial(approve, two)).start(),
        # Before START the view is (1,) too, if this peer was the first to join.
        lambda: second.exchange.state.verdict is not None and second.exchange.state.view == (1,),
    )
    two.run()
    assert two.survivors == [second]
    assert state_of(two).publication is not None
    assert kinds(second).count("VerdictGiven") == 1


def test_the_report_tells_of_rounds_whose_leader_is_gone(crew: Crewed, tmp_path: Path) -> None:
    two = crew("DecLoRA")
    first = two.peers[0]

    def power_cut() -> bool:
        if first.round == ROUNDS - 1:
            raise Killed
        return False

    first.stop = power_cut
    two.run()
    assert [peer.peer for peer in two.survivors] == [1]
    store = tmp_path / "store" / "job"
    told = list(parse_events((store / "events.jsonl").read_bytes().splitlines()))
    rounds = [event for event in told if isinstance(event, RoundClosed)]
    assert [closed.round for closed in rounds] == list(range(ROUNDS))
    # Only the leader of the time knew both peers' losses.
    assert all(closed.losses.keys() == {0, 1} for closed in rounds[:2])
    assert len([event for event in told if isinstance(event, Evaluated)]) == 2
    assert {event.node for event in told if isinstance(event, PeerJoined)} == {"node-0", "node-1"}
    assert not list(store.glob("events/**/*.jsonl"))


def test_a_store_without_room_is_waited_for_when_all_is_trained(crew: Crewed) -> None:
    two = crew()
    for peer in two.peers.values():
        seat = peer._peer._seat
        full = NoRoomFor(peer.material.store, "adapters/", times=3)
        patient = replace(seat.finish, store=full, again_seconds=0.1)
        peer._peer._seat = replace(seat, finish=patient)
    two.run()
    assert len(two.survivors) == 2
    assert state_of(two).publication is not None


@pytest.mark.parametrize("method", sorted(METHODS))
def test_an_evicted_peer_joins_again(crew: Crewed, method: str) -> None:
    three = crew(method, peers=3)
    victim = three.peers[1]
    victim.stop = once(partial(log_of(three).expire, 1), lambda: victim.round == 2)
    three.run()
    assert len(three.survivors) == 3
    rounds = [closed.members for closed in state_of(three).closed]
    assert rounds[:3] == [(0, 1, 2), (0, 1, 2), (0, 2)]
    changes = [(c.joined, c.reason) for c in state_of(three).history if c.peer == 1]
    assert (False, "lease expired") in changes
    assert changes.count((True, "")) >= 1


def test_who_misses_the_last_round_sees_the_same_end(crew: Crewed) -> None:
    two = crew("SPSA")
    slow, log = two.peers[1], log_of(two)

    def close_the_last_round() -> bool:
        return log.book.state.published_in_round == {0} and slow.round == ROUNDS - 1

    slow.stop = once(log.close_round, close_the_last_round)
    hold = once(lambda: wait_until(close_the_last_round), lambda: slow.round == ROUNDS - 1)
    first_stop = slow.stop
    slow.stop = lambda: hold() or first_stop()
    two.run()
    assert state_of(two).closed[-1].missed == (1,)
    assert len({peer.material.model.trainables_digest() for peer in two.survivors}) == 1


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nan_losses_of_one_peer_stay_its_own(crew: Crewed, method: str) -> None:
    three = crew(method, peers=3)
    victim = three.peers[1]

    def break_memory() -> None:
        whole: Any = victim.material.model
        weight = next(p for p in whole._model.parameters() if not p.requires_grad)
        weight.data.fill_(torch.nan)

    victim.stop = once(break_memory, lambda: victim.round == 2)
    three.run()
    assert [closed.members for closed in state_of(three).closed] == [(0, 1, 2)] * ROUNDS
    for peer in three.survivors:
        state = peer.material.model.trainable_state()
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    reports = log_of(three).reports
    assert reports[1].nonfinite_steps > 0
    assert reports[0].nonfinite_steps == reports[2].nonfinite_steps == 0
    assert state_of(three).publication is not None


def test_a_store_that_takes_no_checkpoint_costs_a_checkpoint_not_the_run(
    crew: Crewed, tmp_path: Path
) -> None:
    two = crew()
    first = two.peers[0]
    in_the_way = tmp_path / "store" / "job" / "checkpoints"
    first.stop = once(in_the_way.touch, lambda: first.round == 1)
    two.run()
    failures = [e for e in events(first) if e["kind"] == "CheckpointFailed"]
    assert [failure["round"] for failure in failures] == [2, 4, 6]
    assert str(in_the_way) in failures[0]["reason"]
    assert state_of(two).publication is not None
