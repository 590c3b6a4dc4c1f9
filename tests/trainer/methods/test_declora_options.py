"""Dec-LoRA with its mixers, weights and codecs, as a whole: rounds of several peers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from declora_peers import Peer, train
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.codec import HEADER_BYTES
from haversack_trainer.method import CannotCatchUp, Unsuited
from haversack_trainer.methods.declora.kinds import Codec, Graph, MixerKind, Weights
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.settings import Settings

MIXERS = list(MixerKind)
CODED = [
    {"codec": Codec.INT8},
    {"codec": Codec.INT4},
    {"codec": Codec.INT8, "scheme": "Difference"},
    {"codec": Codec.INT8, "mixer": MixerKind.DECAF},
    {"codec": Codec.INT8, "mixer": MixerKind.ADF},
    {"codec": Codec.INT4, "mixer": MixerKind.FFA},
]


def crew(count: int, **options: Any) -> dict[int, Peer]:
    return {
        n: Peer(
            n,
            options.get("graph", Graph.RING),
            **{k: v for k, v in options.items() if k != "graph"},
        )
        for n in range(count)
    }


def mean(peers: dict[int, Peer]) -> torch.Tensor:
    return torch.stack([peer.vector() for peer in peers.values()]).mean(0)


def held_out(model: ToyModel) -> float:
    batches = ToyBatches(peer=50)
    return sum(model.figure(b) for step in range(20) for b in batches.micro_batches(step))


def consensus(network: ToyNetwork, peer: Peer) -> ToyModel:
    model = ToyModel()
    model.load_trainable_state(peer.method.consensus(network.history[-1], network.fetch))
    return model


@pytest.mark.parametrize(
    ("mixer", "codec"),
    [(mixer, codec) for mixer in MIXERS for codec in (Codec.FLOAT32, Codec.INT8)]
    + [(MixerKind.FACTOR, Codec.INT4)],
)
def test_every_mixer_learns_in_every_codec_and_all_make_out_the_same_adapter(
    mixer: MixerKind, codec: Codec
) -> None:
    network, peers = ToyNetwork(), crew(4, mixer=mixer, codec=codec)
    train(network, peers, range(16))
    results = [consensus(network, peer) for peer in peers.values()]
    assert len({model.digest() for model in results}) == 1
    assert held_out(results[0]) < 0.8 * held_out(ToyModel())


def test_ffa_keeps_a_and_sends_half() -> None:
    network, peers = ToyNetwork(), crew(3, mixer=MixerKind.FFA)
    train(network, peers, range(3))
    assert all(torch.equal(peer.model.lora_a, ToyModel().lora_a) for peer in peers.values())
    assert {len(blob) for blob in network.blobs.values()} == {(2 * 6 + 3 * 6) * 4 + HEADER_BYTES}


def test_adf_rests_one_factor_a_phase_and_trains_all_again_afterwards() -> None:
    peer, before = Peer(0, mixer=MixerKind.ADF, phase_rounds=2), ToyModel()
    moved = []
    for number in range(4):
        start = peer.model.trainable_state()
        train(ToyNetwork(), {0: peer}, range(number, number + 1))
        end = peer.model.trainable_state()
        moved.append([name for name in start if not torch.equal(start[name], end[name])])
    b, a = ["layer.lora_B", "head"], ["layer.lora_A", "head"]
    assert moved == [b, b, a, a]
    assert all(parameter.requires_grad for _, parameter in peer.model.trainables())
    assert peer.model.digest() != before.digest()


def test_the_moments_of_a_factor_that_rests_are_forgotten() -> None:
    peer = Peer(0, mixer=MixerKind.ADF, phase_rounds=1)
    train(ToyNetwork(), {0: peer}, range(2))
    state = peer.method.state_dict()["optimizer"]["state"]
    assert sorted(state) == [0, 2]


def test_after_decaf_all_moments_are_forgotten() -> None:
    network, peers = ToyNetwork(), crew(2, mixer=MixerKind.DECAF)
    train(network, peers, range(1))
    assert not peers[0].method.state_dict()["optimizer"]["state"]


def test_a_star_by_samples_is_federated_averaging() -> None:
    network = ToyNetwork()
    options: dict[str, Any] = {"weights": Weights.SAMPLES}
    peers = {n: Peer(n, Graph.STAR, num_records=10 + 20 * n, **options) for n in range(3)}
    results = [p.method.local_step(0) for p in peers.values()]
    assert len(results) == 3
    before = torch.stack([peer.vector() for peer in peers.values()])
    closed = network.close(0, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network.swap(closed, n))
    expected = (before * torch.tensor([[1.0], [3.0], [5.0]])).sum(0) / 9
    for peer in peers.values():
        assert peer.vector().numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    found = peers[0].method.consensus(closed, network.fetch)
    flat = torch.cat([found[name].reshape(-1) for name, _ in peers[0].model.trainables()])
    assert flat.double().numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("options", CODED, ids=lambda o: "-".join(map(str, o.values())))
def test_a_round_in_few_bits_preserves_the_mean_of_what_was_trained(
    options: dict[str, Any],
) -> None:
    network, peers = ToyNetwork(), crew(5, **options)
    train(network, peers, range(4))
    for peer in peers.values():
        peer.method.local_step(4)
    before = mean(peers)
    closed = network.close(4, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network.swap(closed, n))
    exact = options.get("mixer") is not MixerKind.DECAF
    assert (mean(peers) - before).abs().max() < (1e-6 if exact else 0.05)


def test_bytes_received_are_those_of_the_codec() -> None:
    sizes = {}
    for codec in Codec:
        network, peers = ToyNetwork(), crew(4, codec=codec)
        train(network, peers, range(4))
        sizes[codec] = [len(network.blobs[number, 0]) - HEADER_BYTES for number in range(4)]
        assert network.received[0] == 2 * sum(size + HEADER_BYTES for size in sizes[codec])
    count = 6 * 2 + 2 * 6 + 3 * 6
    assert sizes[Codec.FLOAT32] == [4 * count] * 4
    assert sizes[Codec.INT8] == [4 * count] + [count + 3 * 2] * 3
    assert sizes[Codec.INT4] == [4 * count] + [count // 2 + 3 * 2] * 3


@pytest.mark.parametrize("options", [{"mixer": m} for m in MIXERS] + CODED, ids=str)
def test_a_resumed_crew_goes_on_as_one_that_did_not_stop(options: dict[str, Any]) -> None:
    def restored(peers: dict[int, Peer]) -> dict[int, Peer]:
        again = crew(len(peers), **options)
        for n, peer in again.items():
            peer.model.load_trainable_state(peers[n].model.trainable_state())
            peer.method.load_state_dict(deepcopy(peers[n].method.state_dict()))
        return again

    def go_on(peers: dict[int, Peer]) -> list[str]:
        train(ToyNetwork(), peers, range(3, 6))
        return [peer.model.digest() for peer in peers.values()]

    stopped = crew(3, **options)
    train(ToyNetwork(), stopped, range(3))
    once, twice = restored(stopped), restored(stopped)
    assert go_on(once) == go_on(twice)
    if not Settings(**options).is_chained:
        assert go_on(restored(stopped)) == go_on(stopped)


@pytest.mark.parametrize("options", CODED, ids=lambda o: "-".join(map(str, o.values())))
def test_a_peer_that_joins_late_mixes_a_round_later(options: dict[str, Any]) -> None:
    network, peers = ToyNetwork(), crew(3, **options)
    train(network, peers, range(20))
    late = Peer(3, **options)
    late.method.catch_up(network.history, network.fetch)
    assert held_out(late.model) == pytest.approx(held_out(consensus(network, peers[0])), rel=1e-3)
    peers[3] = late
    train(network, peers, range(20, 23))
    assert network.history[-1].members == (0, 1, 2, 3)
    assert len({consensus(network, peer).digest() for peer in peers.values()}) == 1
    assert network.history[-1].payloads[0].aux == (1 if Settings(**options).is_chained else 0)


def test_who_lacks_the_rounds_before_cannot_catch_up() -> None:
    network, peers = ToyNetwork(), crew(3, codec=Codec.INT8)
    train(network, peers, range(5))
    with pytest.raises(CannotCatchUp, match="builds on 4 rounds before it"):
        Peer(3, codec=Codec.INT8).method.catch_up(network.history[-2:], network.fetch)


@pytest.mark.parametrize("poisoned", [{1}, {0, 2}])
def test_an_invalid_state_leaves_the_others_their_mean(poisoned: Sequence[int]) -> None:
    network = ToyNetwork()
    huge = "99999999"
    peers = {
        n: Peer(n, rate=huge, decay=huge, codec=Codec.INT8)
        if n in poisoned
        else Peer(n, codec=Codec.INT8)
        for n in range(4)
    }
    for n in poisoned:
        with torch.no_grad():
            peers[n].model.lora_a.fill_(1e30)
    for peer in peers.values():
        peer.method.local_step(0)
    good = {n: peer for n, peer in peers.items() if n not in poisoned}
    before = mean(good)
    closed = network.close(0, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network.swap(closed, n))
    assert mean(good).numpy() == pytest.approx(before.numpy(), abs=1e-6)


class Headed(ToyModel):
    """Nothing but a head is trained."""

    def trainables(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [("head", self.head)]


@pytest.mark.parametrize("mixer", MIXERS)
def test_only_plain_averages_suit_what_has_no_factors(mixer: MixerKind) -> None:
    if mixer is MixerKind.FACTOR:
        DecLora(Settings(mixer=mixer), 0, 1, Headed(), ToyBatches())
        return
    with pytest.raises(
        Unsuited, match=rf"mixer is {mixer}, but what is trained has no LoRA factors"
    ):
        DecLora(Settings(mixer=mixer), 0, 1, Headed(), ToyBatches())
