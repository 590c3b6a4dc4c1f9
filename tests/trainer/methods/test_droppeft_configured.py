"""Rounds of DropPEFT in which each peer's drop rate is chosen by what earlier ones gained."""

from __future__ import annotations

from typing import Any

import pytest
from droppeft_peers import SEED, Peer, digests, train
from layered_toys import LayeredToy
from toys import ToyBatches, ToyNetwork

from haversack_trainer.exchange.payload import DIGEST_BYTES
from haversack_trainer.method import Unsuited
from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.settings import Settings
from haversack_trainer.methods.droppeft.word import Trial, Word

GREEDY: dict[str, Any] = {"configurator": "EpsilonGreedy", "arms": ["0.3", "0.6"], "local_steps": 4}


def trials(network: ToyNetwork) -> list[tuple[int, Trial]]:
    """What is in the log."""
    found = []
    for closed in network.history:
        for payload in closed.payloads:
            trial = Word.decode(payload.body[:-DIGEST_BYTES], 4).trial
            assert trial is not None
            found.append((payload.peer, trial))
    return found


@pytest.mark.parametrize("policy", ["EpsilonGreedy", "DiscountedUCB"])
def test_the_log_tells_what_was_tried_and_gained(policy: str) -> None:
    network, peers = (
        ToyNetwork(),
        {n: Peer(n, **GREEDY | {"configurator": policy}) for n in range(3)},
    )
    train(network, peers, range(6))
    told = [trial for _, trial in trials(network)]
    assert {trial.arm for trial in told} == {0.0, 0.3, 0.6}
    assert all((trial.kind, trial.seconds) == ("toy", 1.0) for trial in told)
    assert any(trial.gain > 0 for trial in told)
    assert len(digests(peers)) == 1


def test_the_gain_is_that_of_all_layers_on_batches_still_to_come() -> None:
    peer, model = Peer(0, probe_steps=1, **GREEDY), LayeredToy()
    peer.method.local_step(0)
    word = Word.decode(peer.method.outgoing().body, 4)
    assert word.trial is not None
    to_come = ToyBatches(0).micro_batches(4)

    def loss(of: LayeredToy) -> float:
        of.train(mode=False)
        return sum(of.figure(micro) * micro.num_samples for micro in to_come) / 6

    assert word.trial.gain == pytest.approx(loss(model) - loss(peer.model), rel=1e-5)


def test_the_choice_is_repeated_from_the_log() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, **GREEDY) for n in range(3)}
    train(network, peers, range(5))
    late = Peer(1, **GREEDY)
    late.method.catch_up(network.history, network.fetch)
    assert late.method.state_dict()["pulls"] == peers[0].method.state_dict()["pulls"]
    assert late.model.digest() == peers[0].model.digest()
    late.method.local_step(5)
    peers[1].method.local_step(5)
    assert late.method.outgoing() == peers[1].method.outgoing()


def test_a_resumed_peer_chooses_as_it_would_have() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, **GREEDY) for n in range(2)}
    train(network, peers, range(4))
    again = {n: Peer(n, **GREEDY) for n in range(2)}
    for n, peer in peers.items():
        again[n].model.load_trainable_state(peer.model.trainable_state())
        again[n].method.load_state_dict(peer.method.state_dict())
    other = ToyNetwork()
    train(network, peers, range(4, 9))
    train(other, again, range(4, 9))
    assert trials(network)[8:] == trials(other)
    assert digests(peers) == digests(again)


def test_accuracy_may_be_what_counts_where_there_is_one() -> None:
    settings = Settings(**GREEDY, reward="AccuracyRate", protect="None")
    model = LayeredToy()
    method = DropPeft(settings, 0, SEED, model, ToyBatches())
    method.local_step(0)
    trial = Word.decode(method.outgoing().body, 4).trial
    assert trial is not None
    assert abs(trial.gain * 12 - round(trial.gain * 12)) < 1e-6
    model.has_classes = False
    with pytest.raises(Unsuited, match=r"method\.dropPEFT\.reward: AccuracyRate needs"):
        DropPeft(settings, 0, SEED, model, ToyBatches())


def test_a_machine_without_room_is_refused() -> None:
    model = LayeredToy()
    model.room = 1
    with pytest.raises(Unsuited, match=r"method\.dropPEFT\.arms: a step does not fit"):
        DropPeft(Settings(**GREEDY, protect="None"), 0, SEED, model, ToyBatches())
