"""Rounds of DropPEFT among peers that share a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from droppeft_peers import HEAD, NUM_LAYERS, PER_LAYER, Peer, digests, train
from layered_toys import LayeredToy
from toys import ToyNetwork

from haversack_trainer.exchange.base import ExchangeError
from haversack_trainer.exchange.codec import HEADER_BYTES
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import CannotCatchUp, NoConsensus
from haversack_trainer.methods.droppeft.word import num_bytes


def test_all_peers_end_in_the_same_state() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(3)}
    train(network, peers, range(5))
    assert len(digests(peers)) == 1
    consensus = peers[0].method.consensus(network.history[-1], network.fetch)
    for name, tensor in peers[1].model.trainable_state().items():
        assert torch.equal(consensus[name], tensor)


def test_without_dropping_it_is_federated_averaging() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, drop_rate="0") for n in range(3)}
    before = LayeredToy(NUM_LAYERS)
    alone = {}
    for n in range(3):
        lone = Peer(n, drop_rate="0")
        lone.method.local_step(0)
        alone[n] = lone.model.trainable_state()
    train(network, peers, range(1))
    for name, tensor in peers[0].model.trainable_state().items():
        mean = torch.stack([alone[n][name].double() for n in range(3)]).mean(0)
        torch.testing.assert_close(tensor, mean.float())
        assert not torch.equal(tensor, before.trainable_state()[name])


def test_what_is_sent_is_what_was_active() -> None:
    network, peer = ToyNetwork(), Peer(0, drop_rate="0.6", local_steps=1, sizes=(4,))
    sizes = set()
    for number in range(8):
        peer.method.local_step(number)
        out = peer.method.outgoing()
        assert out.blob is not None
        layers = sum(count > 0 for count in peer.method._mine.word.active)  # type: ignore[union-attr]
        assert len(out.body) == num_bytes(NUM_LAYERS)
        assert len(out.blob) == HEADER_BYTES + 4 * (layers * PER_LAYER + HEAD)
        sizes.add(layers)
        peer.method.incoming(network.swap(network.close(number, {0: out}), 0))
    assert max(sizes) <= 2


def test_a_layer_that_never_ran_is_left_untouched() -> None:
    peer = Peer(0, local_steps=1, sizes=(4,), weight_decay="0.1")
    before = peer.model.trainable_state()
    peer.method.local_step(0)
    active = peer.method._mine.word.active  # type: ignore[union-attr]
    assert 0 in active
    for name, tensor in peer.model.trainable_state().items():
        if name.startswith("layers."):
            assert torch.equal(tensor, before[name]) is (active[int(name[7])] == 0)


def test_masks_are_those_of_peer_round_and_step() -> None:
    def words(peer: int, rounds: Sequence[int]) -> list[tuple[int, ...]]:
        found = Peer(peer, data=0, local_steps=1, sizes=(4,))
        made = []
        for number in rounds:
            found.method.local_step(number)
            made.append(found.method._mine.word.active)  # type: ignore[union-attr]
        return made

    rounds = range(12)
    assert words(0, rounds) == words(0, rounds)
    assert words(0, [5]) == [words(0, rounds)[5]]
    assert words(0, rounds) != words(1, rounds)


def test_who_is_not_drawn_takes_the_rounds_result() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, cohort_size=2) for n in range(4)}
    for number in range(6):
        results = network.run({me: peer.method for me, peer in peers.items()}, number)
        idle = [me for me, result in results.items() if result.num_samples == 0]
        assert len(idle) == (2 if number else 0)
        payloads = network.history[-1].payloads
        assert [p.peer for p in payloads if not p.body] == idle
        assert len(digests(peers)) == 1


@pytest.mark.parametrize(("rate", "steps", "oldest"), [("0.5", 3, 6), ("0.7", 1, 0)])
def test_a_newcomer_replays_as_far_back_as_it_must(rate: str, steps: int, oldest: int) -> None:
    def peer(n: int) -> Peer:
        return Peer(n, drop_rate=rate, local_steps=steps)

    network, peers = ToyNetwork(), {n: peer(n) for n in range(3)}
    train(network, peers, range(7))
    late, fetched = peer(3), list[int]()

    def fetch(closed: ClosedRound, peer: int) -> bytes:
        fetched.append(closed.round)
        return network.fetch(closed, peer)

    late.method.catch_up(network.history, fetch)
    assert late.model.digest() == peers[0].model.digest()
    assert min(fetched) == oldest
    peers[3] = late
    train(network, peers, range(7, 9))
    assert len(digests(peers)) == 1


def test_what_is_gone_cannot_be_replayed() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(2)}
    train(network, peers, range(2))

    def gone(closed: ClosedRound, peer: int) -> bytes:
        raise ExchangeError("gone")

    late = Peer(2)
    with pytest.raises(CannotCatchUp, match="round 1 is not whole any more"):
        late.method.catch_up(network.history, gone)
    with pytest.raises(NoConsensus, match=r"waits for 9 tensors that it missed before round 1"):
        late.method.consensus(network.history[-1], gone)
    peers[2] = late
    train(network, peers, range(2, 5))
    assert len(digests(peers)) == 1
    assert late.method.consensus(network.history[-1], gone)


@pytest.mark.parametrize("settings", [{}, {"head": "Personal"}, {"shape": "Importance"}], ids=str)
def test_a_saved_state_goes_on_as_if_nothing_had_happened(settings: dict[str, Any]) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, cohort_size=2, **settings) for n in range(3)}
    train(network, peers, range(3))
    again = {}
    for n, peer in peers.items():
        again[n] = Peer(n, cohort_size=2, **settings)
        again[n].model.load_trainable_state(peer.model.trainable_state())
        again[n].method.load_state_dict(peer.method.state_dict())
    train(network, peers, range(3, 6))
    train(ToyNetwork(), again, range(3, 6))
    for n, peer in peers.items():
        assert again[n].model.digest() == peer.model.digest()


def test_a_personal_head_stays_at_home() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, head="Personal") for n in range(2)}
    initial = peers[0].head()
    train(network, peers, range(2))
    assert not torch.equal(peers[0].head(), peers[1].head())
    one, other = (peer.model.trainable_state() for peer in peers.values())
    assert all(torch.equal(one[name], other[name]) for name in one if name != "head.weight")
    for blob in network.blobs.values():
        assert (len(blob) - HEADER_BYTES) % (4 * PER_LAYER) == 0
    both = [peer.method.consensus(network.history[-1], network.fetch) for peer in peers.values()]
    assert torch.equal(both[0]["head.weight"], initial)
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_steps_that_are_not_finite_are_skipped_and_not_counted() -> None:
    network, peers = ToyNetwork(), {0: Peer(0, poisoned=lambda step: step % 3 == 1), 1: Peer(1)}
    results = network.run({me: peer.method for me, peer in peers.items()}, 0)
    assert (results[0].num_nonfinite_steps, results[1].num_nonfinite_steps) == (1, 0)
    assert (results[0].num_samples, results[1].num_samples) == (12, 18)
    assert len(digests(peers)) == 1


def test_a_round_without_a_finite_step_publishes_nothing() -> None:
    network, peers = ToyNetwork(), {0: Peer(0, poisoned=lambda _: True), 1: Peer(1)}
    results = network.run({me: peer.method for me, peer in peers.items()}, 0)
    assert math.isnan(results[0].loss)
    assert network.history[0].payloads[0].body == b""
    assert len(digests(peers)) == 1


def test_a_peer_that_missed_a_round_takes_its_result() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, cohort_size=2) for n in range(3)}
    for peer in peers.values():
        peer.method.local_step(0)
    outs = {n: peers[n].method.outgoing() for n in (0, 1)}
    closed = dataclasses.replace(network.close(0, outs), missed=(2,))
    for me, peer in peers.items():
        peer.method.incoming(network.swap(closed, me))
        assert peer.method._members == (0, 1, 2)
    assert len(digests(peers)) == 1


def test_rescaling_changes_the_training_and_nothing_else() -> None:
    plain, scaled = Peer(0), Peer(0, rescale="TrainInverse")
    for peer in (plain, scaled):
        peer.method.local_step(0)
    assert plain.method._mine.word == scaled.method._mine.word  # type: ignore[union-attr]
    assert plain.model.digest() != scaled.model.digest()
