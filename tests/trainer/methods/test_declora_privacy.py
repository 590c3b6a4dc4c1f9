"""Dec-LoRA that tells little of its data: what is sent, what is told, and when it is enough."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from declora_peers import Peer, train
from toys import ToyNetwork

from haversack_trainer.contract.privacy import DeltaPrivacy, WhenSpent
from haversack_trainer.methods.declora.kinds import Graph, MixerKind
from haversack_trainer.privacy.account import Budget, epsilon

QUIET = DeltaPrivacy(clip="0.05", noise_multiplier="0.00001")


def a_peer(number: int, privacy: DeltaPrivacy = QUIET, **more: Any) -> Peer:
    settings: dict[str, Any] = {"mixer": MixerKind.FFA, "privacy": privacy} | more
    return Peer(number, Graph.COMPLETE, **settings)


def test_a_round_changes_a_state_by_the_clip_at_most_and_a_stays() -> None:
    network, peer = ToyNetwork(), a_peer(0)
    before = peer.model.trainable_state()
    train(network, {0: peer}, range(1))
    after = peer.model.trainable_state()
    change = torch.cat([(after[name] - before[name]).reshape(-1) for name in after])
    assert float(change.norm()) == pytest.approx(0.05, abs=1e-3)
    assert torch.equal(after["layer.lora_A"], before["layer.lora_A"])


def test_auto_is_ffa() -> None:
    network, peers = ToyNetwork(), {n: a_peer(n, mixer=MixerKind.AUTO) for n in range(2)}
    train(network, peers, range(2))
    assert len({peer.model.digest() for peer in peers.values()}) == 1
    first = a_peer(0).model.trainable_state()["layer.lora_A"]
    assert torch.equal(peers[0].model.trainable_state()["layer.lora_A"], first)


@pytest.mark.parametrize("codec", ["Float32", "Int8", "Int4"])
def test_noise_is_in_what_is_sent_and_what_follows(codec: str) -> None:
    privacy = DeltaPrivacy(clip="0.01", noise_multiplier="50")
    network, peers = ToyNetwork(), {n: a_peer(n, privacy, codec=codec) for n in range(2)}
    start = peers[0].vector()
    train(network, peers, range(1))
    # Two peers' noise of 1 on the 30 numbers of B and head, averaged.
    moved = (peers[0].vector() - start).numpy()
    assert np.linalg.norm(moved) == pytest.approx(math.sqrt(30 / 2), rel=0.5)


def test_what_is_told_hangs_on_no_data() -> None:
    """A peer all of whose steps fail says and sends as much as one whose steps do not."""
    told = []
    for poisoned in (True, False):
        peer = a_peer(0, poisoned=lambda _, bad=poisoned: bad)
        result, out = peer.method.local_step(0), peer.method.outgoing()
        assert math.isnan(result.loss)
        told.append(
            (result.num_samples, result.num_nonfinite_steps, out.body, len(out.blob or b""))
        )
    assert told[0] == told[1]


def test_each_round_spends_and_is_told() -> None:
    network, peer = ToyNetwork(), a_peer(0, DeltaPrivacy(noise_multiplier="3"))
    spent = [network.run({0: peer.method}, n)[0].metrics["epsilon"] for n in range(3)]
    assert spent == [pytest.approx(epsilon(n, 3.0, 1e-5)) for n in (1, 2, 3)]


BUDGET = DeltaPrivacy(noise_multiplier="4", max_epsilon="2")


def test_with_the_last_round_that_it_affords_the_run_is_to_end() -> None:
    network, peer = ToyNetwork(), a_peer(0, BUDGET)
    results = [network.run({0: peer.method}, n)[0] for n in range(4)]
    lasts = max(uses for uses in range(9) if Budget(BUDGET).affords(uses))
    assert [result.ending is not None for result in results] == [
        number + 1 >= lasts for number in range(4)
    ]
    assert max(result.metrics["epsilon"] for result in results) <= 2


def test_whoever_has_spent_all_trains_no_more_but_mixes_on() -> None:
    resting = BUDGET.model_copy(update={"when_spent": WhenSpent.REST})
    network, peers = ToyNetwork(), {0: a_peer(0, resting), 1: a_peer(1)}
    results = [network.run({n: p.method for n, p in peers.items()}, r)[0] for r in range(6)]
    assert [result.num_samples > 0 for result in results] == [True] * 3 + [False] * 3
    assert all(result.ending is None for result in results)
    assert peers[0].model.digest() == peers[1].model.digest()


def test_a_round_published_late_by_a_process_that_is_gone_counts() -> None:
    """Its state is in the log and was fetched, though its peer is no member of that round."""
    network, other, new = ToyNetwork(), a_peer(1), a_peer(0, BUDGET)
    other.method.local_step(0)
    closed = network.close(0, {1: other.method.outgoing()})
    new.method.catch_up([replace(closed, missed=(0,))], network.fetch)
    told = new.method.local_step(1).metrics["epsilon"]
    assert told == pytest.approx(Budget(BUDGET).epsilon(2))
