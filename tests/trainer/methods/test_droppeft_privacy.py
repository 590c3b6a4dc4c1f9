"""DropPEFT that tells little of its data: neither tensors nor words hang on more of it than is accounted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from droppeft_peers import Peer, digests, train
from toys import ToyNetwork

from haversack_trainer.contract.privacy import DeltaPrivacy, WhenSpent
from haversack_trainer.methods.droppeft.settings import Head, Share
from haversack_trainer.privacy.account import epsilon

QUIET = DeltaPrivacy(clip="0.05", noise_multiplier="0.00001")


def a_peer(number: int, privacy: DeltaPrivacy = QUIET, **more: Any) -> Peer:
    return Peer(number, privacy=privacy, **more)


def test_a_round_changes_the_state_by_the_clip_at_most_and_a_stays() -> None:
    network, peer = ToyNetwork(), a_peer(0)
    before = peer.model.trainable_state()
    train(network, {0: peer}, range(1))
    after = peer.model.trainable_state()
    change = torch.cat([(after[name] - before[name]).reshape(-1) for name in after])
    assert float(change.norm()) == pytest.approx(0.05, abs=1e-3)
    assert all(torch.equal(after[name], before[name]) for name in after if "lora_A" in name)
    assert any(not torch.equal(after[name], before[name]) for name in after if "lora_B" in name)


def test_all_stay_equal_and_a_newcomer_becomes_so() -> None:
    network, peers = ToyNetwork(), {n: a_peer(n) for n in range(3)}
    train(network, peers, range(2))
    peers[3] = a_peer(3)
    peers[3].method.catch_up(network.history, network.fetch)
    assert len(digests(peers)) == 1


@pytest.mark.parametrize("more", [{}, {"share": Share.FIXED_BOTTOM, "head": Head.PERSONAL}])
def test_what_is_told_hangs_on_no_data(more: dict[str, Any]) -> None:
    """Counts of active layers are the masks', and a peer whose steps all fail says what others say."""
    told = []
    for poisoned in (True, False):
        peer = a_peer(0, poisoned=lambda _, bad=poisoned: bad, **more)
        result, out = peer.method.local_step(0), peer.method.outgoing()
        assert math.isnan(result.loss)
        assert all(torch.isfinite(t).all() for t in peer.model.trainable_state().values())
        told.append(
            (result.num_samples, result.num_nonfinite_steps, out.body, len(out.blob or b""))
        )
    assert told[0] == told[1]
    assert told[0][0] == 18


def test_rounds_outside_the_cohort_spend_nothing() -> None:
    network = ToyNetwork()
    peers = {n: a_peer(n, DeltaPrivacy(noise_multiplier="3"), cohort_size=1) for n in range(3)}
    trained = dict.fromkeys(peers, 0)
    for number in range(7):
        results = network.run({n: p.method for n, p in peers.items()}, number)
        for n, result in results.items():
            trained[n] += bool(result.num_samples)
            if result.num_samples:
                assert result.metrics["epsilon"] == pytest.approx(epsilon(trained[n], 3.0, 1e-5))
    assert sum(trained.values()) == 3 + 6


def test_whoever_has_spent_all_only_listens() -> None:
    privacy = DeltaPrivacy(noise_multiplier="4", max_epsilon="2", when_spent=WhenSpent.REST)
    network, peers = ToyNetwork(), {0: a_peer(0, privacy), 1: a_peer(1)}
    results = [network.run({n: p.method for n, p in peers.items()}, r)[0] for r in range(5)]
    assert [result.num_samples > 0 for result in results] == [True] * 3 + [False] * 2
    assert [bool(c.payload(0).body) for c in network.history] == [True] * 3 + [False] * 2  # type: ignore[union-attr]
    assert len(digests(peers)) == 1
