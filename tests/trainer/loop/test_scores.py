"""Personalised, consensus and mean scores, through the log, at the end of whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from run_harness import Crew, Killed, Memory

from haversack_trainer.evaluate import evaluate
from haversack_trainer.exchange.log import RunState
from haversack_trainer.report.events import Scored, parse_events

Crewed = Callable[..., Crew]
ROUNDS = 3


@pytest.fixture
def scoring(crew: Crewed, data: Path) -> Callable[[str], Crew]:
    dataset = {
        "uri": f"file://{data}",
        "maxLength": 16,
        "partition": {"type": "Dirichlet", "alpha": "0.5"},
        "heldOut": {"personalPercent": 25},
    }
    training = {"rounds": ROUNDS, "batchSize": 4}
    return partial(crew, peers=3, dataset=dataset, training=training)


class PowerCut:
    """A judge that never gives its word."""

    personal = True

    def own_scores(self, *_: object) -> None:
        raise Killed


def state_of(crew: Crew) -> RunState:
    return crew.survivors[0].exchange.state


def test_each_peer_s_own_model_is_judged_on_its_own_samples(
    scoring: Callable[[str], Crew], tmp_path: Path
) -> None:
    three = scoring("DecLoRA")
    three.run()
    state = state_of(three)
    assert sorted(state.scores) == [0, 1, 2]
    for peer, thread in three.peers.items():
        split, said = thread.material.split, state.scores[peer]
        own = thread.material.samples.take(split.personal[peer])
        # Leaders put the consensus into their models afterwards; the snapshot is the peer's own.
        thread.material.model.load_trainable_state(thread._peer._snapshot.tensors)
        again = evaluate(thread.material.model, own, 3, ROUNDS).evaluation
        assert said.personal == again
        assert said.common.num_samples == len(split.held_out)
    # On a ring of three all mix alike; but peers' own samples differ.
    assert len({said.personal.loss for said in state.scores.values()}) == 3
    told = list(parse_events((tmp_path / "store/job/events.jsonl").read_bytes().splitlines()))
    assert {event.peer for event in told if isinstance(event, Scored)} == {0, 1, 2}
    assert "Personalised, consensus, mean" in (tmp_path / "store/job/report.html").read_text()


def test_a_peer_that_dies_before_it_is_judged_holds_nobody(
    scoring: Callable[[str], Crew],
) -> None:
    three = scoring("DropPEFT")
    victim = three.peers[2]
    victim._peer._seat = replace(victim._peer._seat, judge=PowerCut())  # type: ignore[arg-type]
    three.run()
    assert isinstance(three.transport, Memory)
    assert sorted(state_of(three).scores) == [0, 1]
    assert state_of(three).publication is not None
