from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from declora_peers import SEED, Peer, train
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.base import ExchangeError, Outgoing
from haversack_trainer.exchange.codec import HEADER_BYTES
from haversack_trainer.exchange.topology import topology
from haversack_trainer.method import CannotCatchUp, dropout_seed
from haversack_trainer.methods.declora.kinds import Graph
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.training import LocalTraining, WholeBatch

UNLISTED = [graph for graph in Graph if graph is not Graph.EDGES]
NUM_ELEMENTS = 6 * 2 + 2 * 6 + 3 * 6


def published(network: ToyNetwork, number: int, peers: Sequence[int]) -> torch.Tensor:
    """What the peers had before mixing, shape (peers, elements), in the order of ``Peer.vector``."""
    model = ToyModel()
    rows = []
    for peer in peers:
        out = DecLora(Settings(), peer, SEED, model, ToyBatches())
        state = out.consensus(
            ToyNetwork().close(0, {peer: Outgoing(blob=network.blobs[number, peer])}),
            lambda *_: network.blobs[number, peer],  # noqa: B023  # called at once
        )
        rows.append(torch.cat([state[name].reshape(-1) for name, _ in model.trainables()]))
    return torch.stack(rows).double()


def test_alone_it_is_local_training() -> None:
    network, peer, model = ToyNetwork(), Peer(0), ToyModel()
    settings = Settings(local_steps=3, learning_rate="0.01")
    reference = LocalTraining(settings, 0, SEED, model, WholeBatch(model, ToyBatches(0)))
    for number in range(5):
        train(network, {0: peer}, range(number, number + 1))
        reference.run(number)
    assert peer.model.digest() == model.digest()


def test_on_the_complete_graph_it_is_federated_averaging() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, Graph.COMPLETE) for n in range(4)}
    for number in range(3):
        train(network, peers, range(number, number + 1))
        average = published(network, number, range(4)).mean(0)
        for peer in peers.values():
            assert peer.vector().numpy() == pytest.approx(average.numpy(), abs=1e-6)


@pytest.mark.parametrize("graph", UNLISTED)
def test_a_round_preserves_the_mean_of_what_was_published(graph: Graph) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, graph) for n in range(5)}
    train(network, peers, range(2))
    after = torch.stack([peer.vector() for peer in peers.values()]).mean(0)
    assert after.numpy() == pytest.approx(published(network, 1, range(5)).mean(0).numpy(), abs=1e-6)


def test_relabelling_the_peers_permutes_the_results() -> None:
    renamed = {0: 3, 1: 4, 2: 9, 3: 12}
    ours = {n: Peer(n, Graph.COMPLETE) for n in renamed}
    theirs = {new: Peer(new, Graph.COMPLETE, data=old) for old, new in renamed.items()}
    train(ToyNetwork(), ours, range(3))
    train(ToyNetwork(), theirs, range(3))
    for old, new in renamed.items():
        assert ours[old].model.digest() == theirs[new].model.digest()


def test_when_a_peer_drops_out_the_others_keep_their_mean() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(5)}
    train(network, peers, range(2))
    del peers[2]
    train(network, peers, range(2, 3))
    after = torch.stack([peer.vector() for peer in peers.values()]).mean(0)
    before = published(network, 2, tuple(peers)).mean(0)
    assert network.history[-1].members == (0, 1, 3, 4)
    assert after.numpy() == pytest.approx(before.numpy(), abs=1e-6)


def test_bytes_received_are_degree_times_state() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(5)}
    train(network, peers, range(4))
    state = NUM_ELEMENTS * 4 + HEADER_BYTES
    figures = peers[0].method.incoming(network.swap(network.history[-1], 0))
    assert figures["modelled_bytes"] == 5 * NUM_ELEMENTS * 4
    degree = {n: len(topology(Graph.RING, tuple(peers)).neighbours(n)) for n in peers}
    assert network.received == {n: degree[n] * state * (4 + (n == 0)) for n in peers}
    assert {len(blob) for blob in network.blobs.values()} == {state}


def test_micro_batches_only_cut_the_batch() -> None:
    whole, cut = Peer(0, sizes=(6,)), Peer(0, sizes=(3, 2, 1))
    train(ToyNetwork(), {0: whole}, range(3))
    train(ToyNetwork(), {0: cut}, range(3))
    assert whole.vector().numpy() == pytest.approx(cut.vector().numpy(), abs=1e-5)


def test_a_nan_step_is_skipped_and_counted() -> None:
    peer = Peer(0, poisoned=lambda step: step == 1)
    result = peer.method.local_step(0)
    assert (result.num_nonfinite_steps, result.num_steps) == (1, 2)
    assert math.isfinite(result.loss)
    assert torch.isfinite(peer.vector()).all()
    assert peer.method.outgoing().blob


def test_a_peer_whose_every_step_is_nan_reports_no_loss_and_still_mixes() -> None:
    network = ToyNetwork()
    peers = {0: Peer(0), 1: Peer(1, poisoned=lambda _: True)}
    results = network.run({n: p.method for n, p in peers.items()}, 0)
    assert math.isnan(results[1].loss)
    assert results[1].num_nonfinite_steps == 3
    assert peers[0].model.digest() == peers[1].model.digest() != ToyModel().digest()


def test_a_state_that_overflowed_is_invalid_and_the_last_good_one_comes_back() -> None:
    network = ToyNetwork()
    peers = {0: Peer(0), 1: Peer(1, rate="99999999", decay="99999999"), 2: Peer(2)}
    with torch.no_grad():
        peers[1].model.lora_a.fill_(1e30)
    last_good = peers[1].model.digest()
    train(network, peers, range(1))
    assert network.history[0].payloads[1].body == b""
    assert peers[1].model.digest() == last_good
    after = (peers[0].vector() + peers[2].vector()) / 2
    assert after.numpy() == pytest.approx(published(network, 0, (0, 2)).mean(0).numpy(), abs=1e-6)


def test_a_resumed_peer_goes_on_exactly_as_if_it_had_not_stopped() -> None:
    going = Peer(0)
    train(ToyNetwork(), {0: going}, range(4))
    stopped, resumed = Peer(0), Peer(0)
    train(ToyNetwork(), {0: stopped}, range(2))
    resumed.model.load_trainable_state(stopped.model.trainable_state())
    resumed.method.load_state_dict(stopped.method.state_dict())
    train(ToyNetwork(), {0: resumed}, range(2, 4))
    assert resumed.model.digest() == going.model.digest()


def test_a_late_peer_starts_from_the_mean_of_the_newest_round() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(4)}
    train(network, peers, range(3))
    late = Peer(4)
    late.method.catch_up(network.history, network.fetch)
    expected = torch.stack([peer.vector() for peer in peers.values()]).mean(0)
    assert late.vector().numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    consensus = late.method.consensus(network.history[-1], network.fetch)
    assert all(torch.equal(t, consensus[name]) for name, t in late.model.trainable_state().items())


def test_who_catches_up_forgets_the_moments_of_the_state_it_leaves() -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1)}
    train(network, peers, range(2))
    assert peers[0].method.state_dict()["optimizer"]["state"]
    peers[0].method.catch_up(network.history, network.fetch)
    assert not peers[0].method.state_dict()["optimizer"]["state"]


def gone(*_: object) -> bytes:
    raise ExchangeError("the blob is gone")


def test_without_the_blobs_of_the_newest_round_it_cannot_catch_up() -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1)}
    train(network, peers, range(1))
    with pytest.raises(CannotCatchUp, match="round 0 is not whole any more"):
        Peer(2).method.catch_up(network.history, gone)


def test_consensus_distance_falls_with_denser_graphs() -> None:
    def distance(graph: Graph) -> float:
        network, peers = ToyNetwork(), {n: Peer(n, graph) for n in range(8)}
        train(network, peers, range(4))
        states = torch.stack([peer.vector() for peer in peers.values()])
        return float((states - states.mean(0)).square().sum())

    assert distance(Graph.COMPLETE) < distance(Graph.EXPONENTIAL) < distance(Graph.RING)


def test_it_learns() -> None:
    peers = {n: Peer(n) for n in range(4)}
    held_out = [b for step in range(20) for b in ToyBatches(peer=50).micro_batches(step)]
    start = sum(peers[0].model.figure(batch) for batch in held_out)
    train(ToyNetwork(), peers, range(20))
    assert sum(peers[0].model.figure(batch) for batch in held_out) < 0.7 * start


def test_dropout_differs_by_peer_and_step() -> None:
    seeds = {dropout_seed(1, peer, step) for peer in range(5) for step in range(5)}
    assert len(seeds) == 25
    assert np.all([0 <= seed < 2**64 for seed in seeds])
