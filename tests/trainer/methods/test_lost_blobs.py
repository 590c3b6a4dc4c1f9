"""A payload names a blob that nobody has: its readers go on, and its peer counts as missing for that round."""

from __future__ import annotations

from typing import Any

import declora_peers
import droppeft_peers
import numpy as np
import pytest
import torch
from toys import ToyNetwork

from haversack_trainer.contract.robust import Robust
from haversack_trainer.exchange.base import Gone, Swap
from haversack_trainer.exchange.codec import Layout
from haversack_trainer.method import CannotCatchUp, NoConsensus
from haversack_trainer.methods.declora.kinds import Codec, Graph, Weights


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"codec": Codec.INT8},
        {"max_staleness": 2},
        {"weights": Weights.PUSH_SUM},
        {"robust": Robust(num_faulty=0)},
    ],
)
def test_declora_s_neighbours_mix_without_it(settings: dict[str, Any]) -> None:
    network = ToyNetwork(lost={(1, 2)})
    peers = {n: declora_peers.Peer(n, Graph.COMPLETE, **settings) for n in range(4)}
    declora_peers.train(network, peers, range(3))
    assert all(torch.isfinite(peer.vector()).all() for peer in peers.values())
    closed = network.history[1]
    found = peers[0].method.consensus(closed, network.fetch)
    assert found.keys() == peers[0].model.trainable_state().keys()


def test_declora_s_mean_is_of_those_that_are_left() -> None:
    network, peers = ToyNetwork(), {n: declora_peers.Peer(n, Graph.COMPLETE) for n in range(3)}
    declora_peers.train(network, peers, range(1))
    for peer in (0, 1):
        network.lost.add((0, peer))
    left = peers[0].method.consensus(network.history[0], network.fetch)
    layout = Layout.of({name: t.numpy() for name, t in left.items()})
    sent = layout.decode(network.blobs[0, 2])
    assert all(np.array_equal(left[name].numpy(), sent[name]) for name in sent)
    network.lost.add((0, 2))
    with pytest.raises(CannotCatchUp):
        peers[0].method.consensus(network.history[0], network.fetch)


def test_who_alone_misses_one_of_droppeft_s_blobs_does_not_tell_the_run_s_adapter() -> None:
    """Until what it was averaged into has been averaged anew; then all are equal again."""
    network, peers = ToyNetwork(), {n: droppeft_peers.Peer(n, dropRate="0") for n in range(3)}
    droppeft_peers.train(network, peers, range(1))
    for peer in peers.values():
        peer.method.local_step(1)
    closed = network.close(1, {n: peer.method.outgoing() for n, peer in peers.items()})

    def fetch(peer: int) -> bytes:
        if peer == 2:
            raise Gone("lost")
        return network.fetch(closed, peer)

    told = peers[0].method.incoming(Swap(closed, 0, fetch))
    for n in (1, 2):
        peers[n].method.incoming(network.swap(closed, n))
    assert (told["contributors"], told["refused"]) == (2.0, 0.0)
    with pytest.raises(NoConsensus):
        peers[0].method.consensus(closed, network.fetch)
    adapter = peers[1].method.consensus(closed, network.fetch)
    assert all(torch.equal(t, adapter[n]) for n, t in peers[2].model.trainable_state().items())
    droppeft_peers.train(network, peers, range(2, 3))
    peers[0].method.consensus(network.history[-1], network.fetch)
    assert len(droppeft_peers.digests(peers)) == 1


def test_droppeft_s_members_average_without_it_and_stay_equal() -> None:
    network = ToyNetwork(lost={(1, 2)})
    peers = {n: droppeft_peers.Peer(n) for n in range(3)}
    droppeft_peers.train(network, peers, range(1))
    for peer in peers.values():
        peer.method.local_step(1)
    closed = network.close(1, {n: peer.method.outgoing() for n, peer in peers.items()})
    told = [peer.method.incoming(network.swap(closed, n)) for n, peer in peers.items()]
    assert [it["contributors"] for it in told] == [2.0] * 3
    assert len(droppeft_peers.digests(peers)) == 1
    late = droppeft_peers.Peer(7)
    with pytest.raises(CannotCatchUp):
        late.method.catch_up(network.history, network.fetch)
