from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from devices import DEVICES
from torch import nn
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.contract.records import HEADER_BYTES, Kind, Record
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.method import Unsuited
from haversack_trainer.methods.spsa.codec import INVALID, decode
from haversack_trainer.methods.spsa.directions import Signs, Term, add_signs
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.update import scalars, update_of
from haversack_trainer.methods.spsa.words import key

SEED = 17
FAST = Settings(directions=4, learning_rate="0.002")


def direction(z: int, count: int) -> torch.Tensor:
    part = np.zeros(count, np.float32)
    add_signs(part, 0, [Term(z, 1.0)])
    return torch.from_numpy(part)


class Peer:
    """A method with its model at hand."""

    def __init__(self, peer: int, settings: Settings = FAST, *, poisoned: bool = False) -> None:
        self.model = ToyModel()
        batches = ToyBatches(peer, poisoned=lambda _: poisoned)
        self.method = Spsa(settings, peer, SEED, self.model, batches)


def train(network: ToyNetwork, peers: dict[int, Peer], rounds: range) -> None:
    for number in rounds:
        network.run({me: peer.method for me, peer in peers.items()}, number)


def states(peers: dict[int, Peer]) -> set[str]:
    return {peer.model.digest() for peer in peers.values()}


def test_the_estimate_is_exact_for_a_linear_loss_and_unbiased_for_a_quadratic_one() -> None:
    slope = torch.tensor([0.5, -2.0, 1.0, 0.25, 3.0, -1.0, 0.0, 8.0])
    theta, eps, draws = torch.linspace(-1, 1, 8), 2.0**-7, 100_000
    z = direction(key(SEED, 0, 0, 0), 64 * draws).view(draws, 64)[:, :8]
    linear = ((theta + eps * z) @ slope - (theta - eps * z) @ slope) / (2 * eps)
    assert torch.allclose(linear, z @ slope, atol=1e-3)
    above, below = ((theta + sign * eps * z).square() @ slope / 2 for sign in (1, -1))
    measured = (above - below) / (2 * eps)
    samples = measured[:, None] * z
    error = (samples.mean(0) - slope * theta).abs()
    assert (error < 4 * samples.std(0) / math.sqrt(draws)).all()


def test_measuring_leaves_the_parameters_bit_for_bit_as_they_were() -> None:
    peer = Peer(0)
    before = peer.model.digest()
    for number in range(50):
        peer.method.local_step(number)
    assert peer.model.digest() == before


def test_replicas_stay_equal_bit_by_bit_on_different_data() -> None:
    network, peers = ToyNetwork(), {number: Peer(number) for number in range(3)}
    seen = set()
    for number in range(100):
        train(network, peers, range(number, number + 1))
        assert len(states(peers)) == 1
        seen |= states(peers)
    assert len(seen) == 100


def test_the_order_in_which_payloads_are_listed_does_not_matter() -> None:
    network, peers = ToyNetwork(), {number: Peer(number) for number in range(5)}
    train(network, peers, range(1))
    closed = network.history[0]
    shuffled = list(closed.payloads)
    random.Random(1).shuffle(shuffled)
    other = replace(closed, payloads=tuple(shuffled))
    assert update_of(other, SEED, FAST) == update_of(closed, SEED, FAST)


def test_replaying_the_log_gives_the_live_weights_from_the_start_and_from_a_snapshot() -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1)}
    train(network, peers, range(10))
    snapshot = peers[0].model.trainable_state()
    train(network, peers, range(10, 20))
    from_start, from_snapshot = Peer(7), Peer(8)
    from_snapshot.model.load_trainable_state(snapshot)
    from_start.method.catch_up(network.history, network.fetch)
    from_snapshot.method.catch_up(network.history[10:], network.fetch)
    assert states({0: from_start, 1: from_snapshot, 2: peers[1]}) == states(peers)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_log_replays_to_the_same_bits_on_every_device(device: torch.device) -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1)}
    train(network, peers, range(10))
    late = Peer(7)
    for _, parameter in late.model.trainables():
        parameter.data = parameter.data.to(device)
    late.method.catch_up(network.history, network.fetch)
    live = peers[0].model.trainable_state()
    for name, tensor in late.model.trainable_state().items():
        assert torch.equal(tensor.cpu(), live[name]), name


def test_peers_may_join_and_leave_between_rounds() -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1)}
    train(network, peers, range(5))
    peers[2] = Peer(2)
    peers[2].method.catch_up(network.history, network.fetch)
    train(network, peers, range(5, 8))
    del peers[0]
    train(network, peers, range(8, 10))
    assert len(states(peers)) == 1
    assert {scalar.peer for scalar in scalars(network.history[-1], FAST)} == {1, 2}
    assert len(update_of(network.history[-1], SEED, FAST).terms) == 2 * FAST.directions


def test_a_peer_with_nan_losses_is_invalid_everywhere_and_still_a_replica() -> None:
    network, peers = ToyNetwork(), {0: Peer(0), 1: Peer(1, poisoned=True)}
    results = network.run({n: p.method for n, p in peers.items()}, 0)
    assert math.isnan(results[1].loss)
    assert results[1].num_nonfinite_steps == FAST.directions
    assert network.history[0].payloads[1].body == b""
    assert {scalar.peer for scalar in scalars(network.history[0], FAST)} == {0}
    assert len(states(peers)) == 1


def test_one_bad_direction_is_dropped_alone() -> None:
    peer = Peer(0)
    peer.method = Spsa(FAST, 0, SEED, peer.model, ToyBatches(poisoned=lambda step: step == 2))
    result = peer.method.local_step(0)
    codes = peer.method.outgoing().body
    assert [code == INVALID for code in codes] == [False, False, True, False]
    assert math.isfinite(result.loss)


def test_the_sender_applies_what_it_sent_not_what_it_measured() -> None:
    network, peers = ToyNetwork(), {0: Peer(0)}
    before = peers[0].model.trainable_state()
    train(network, peers, range(1))
    payload = network.history[0].payloads[0]
    step = float(FAST.learning_rate)
    theta = torch.cat([t.reshape(-1) for t in before.values()])
    terms = [
        Term(key(SEED, 0, 0, j), float(np.float32(-step * value)))
        for j, value in enumerate(decode(payload.aux, payload.body))
        if value is not None
    ]
    Signs(theta.numel()).add(theta, 0, terms)
    live = torch.cat([t.reshape(-1) for t in peers[0].model.trainable_state().values()])
    assert torch.equal(live, theta)


def test_directions_of_one_peer_weigh_as_much_as_those_of_many() -> None:
    values = bytes([127, 119, 111, 128 + 103])
    alone = ClosedRound(4, (0,), (Payload(0, values, 16),), 1)
    apart = ClosedRound(
        4, (0, 1, 2, 3), tuple(Payload(m, values[m : m + 1], 16) for m in range(4)), 1
    )
    one = update_of(alone, SEED, FAST)
    many = update_of(apart, SEED, FAST.model_copy(update={"directions": 1}))
    assert [t.coefficient for t in one.terms] == [t.coefficient for t in many.terms]


def test_weight_decay_shrinks_before_the_step() -> None:
    settings = Settings(
        directions=1, learning_rate="0.5", weight_decay="0.5", scale_with_peers=False
    )
    closed = ClosedRound(0, (0,), (Payload(0, bytes(1)),), 1)
    theta = torch.full((3,), 8.0)
    update_of(closed, SEED, settings).apply(theta, 0, Signs(3))
    assert theta.tolist() == [6.0] * 3


def test_it_matches_a_plain_mezo_step() -> None:
    """Against MeZO's Algorithm 1, written out with z as a dense vector."""
    settings = Settings(directions=1, learning_rate="0.01")
    network, peer, reference = ToyNetwork(), Peer(0, settings), ToyModel()
    batch, eps = ToyBatches(0).micro_batches(0), 2.0**-7
    theta = torch.cat([t.reshape(-1) for t in reference.trainable_state().values()])
    z = direction(key(SEED, 0, 0, 0), theta.numel())

    def loss(at: torch.Tensor) -> float:
        nn.utils.vector_to_parameters(at, [p for _, p in reference.trainables()])
        return sum(reference.figure(b) * b.num_samples for b in batch) / 6

    projected = (loss(theta + eps * z) - loss(theta - eps * z)) / (2 * eps)
    train(network, {0: peer}, range(1))
    live = torch.cat([t.reshape(-1) for t in peer.model.trainable_state().values()])
    moved = (theta - live) / (0.01 * z)
    assert moved.numpy() == pytest.approx(np.full(theta.numel(), projected), rel=0.05)


def test_it_learns_and_a_wrong_pairing_of_scalars_does_not() -> None:
    held_out = [b for step in range(40) for b in ToyBatches(peer=50).micro_batches(step)]

    def final_loss(*, rotated: bool) -> float:
        network, peer = ToyNetwork(), Peer(0, Settings(directions=8, learning_rate="0.002"))
        for number in range(120):
            peer.method.local_step(number)
            out = peer.method.outgoing()
            codes = out.body[1:] + out.body[:1] if rotated else out.body
            closed = network.close(number, {0: replace(out, body=codes)})
            peer.method.incoming(network.swap(closed, 0))
        return sum(peer.model.figure(batch) for batch in held_out)

    start = sum(ToyModel().figure(batch) for batch in held_out)
    assert final_loss(rotated=False) < 0.95 * start < final_loss(rotated=True)


@pytest.mark.parametrize("width", [6, 600])
def test_bytes_on_the_wire_are_the_header_and_one_per_direction(width: int) -> None:
    method = Spsa(FAST, 0, SEED, ToyModel(width=width), ToyBatches(width=width))
    method.local_step(0)
    out = method.outgoing()
    frame = Record(Kind.PAYLOAD, 0, 0, out.body, out.aux).encode()
    assert out.blob is None
    assert len(frame) == HEADER_BYTES + FAST.directions


def test_half_precision_is_refused() -> None:
    model = ToyModel()
    model.head.data = model.head.data.half()
    with pytest.raises(Unsuited, match=r"needs trainable tensors in fp32, head is torch\.float16"):
        Spsa(FAST, 0, SEED, model, ToyBatches())


def test_dropout_is_off_while_measuring() -> None:
    peer = Peer(0)
    peer.model.train(mode=True)
    peer.method.local_step(0)
    assert not peer.model.training


@pytest.mark.parametrize("num_codes", [0, 3, 5, 65_535])
def test_a_payload_with_another_number_of_codes_than_directions_is_invalid(num_codes: int) -> None:
    sound, odd = Payload(0, bytes([127] * 4)), Payload(1, bytes([127] * num_codes), 127)
    closed = ClosedRound(0, (0, 1), (sound, odd), 1)
    assert update_of(closed, SEED, FAST) == update_of(ClosedRound(0, (0,), (sound,), 1), SEED, FAST)
