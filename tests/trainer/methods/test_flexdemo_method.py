"""FlexDeMo as a method: rounds, peers that come and go, and what is equal when."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.base import Evicted, ExchangeError, Swap
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import CannotCatchUp, NoConsensus, Unsuited
from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Scheme, Settings, Update
from haversack_trainer.methods.flexdemo.word import Saying, Word

SEED = 17
FAST = Settings(learning_rate="0.01", beta="0.9")
SCHEMES = {
    Scheme.DEMO: FAST,
    Scheme.RANDOM: Settings(scheme=Scheme.RANDOM, learning_rate="0.01", rate="0.25"),
    Scheme.STRIDING: Settings(scheme=Scheme.STRIDING, learning_rate="0.01", rate="0.25"),
    Scheme.DILOCO: Settings(scheme=Scheme.DILOCO, learning_rate="0.01", sync_every=3),
    Scheme.FULL: Settings(scheme=Scheme.FULL, learning_rate="0.01", update=Update.ADAMW),
}


def never(_: int) -> bool:
    return False


class Peer:
    """A method with its model at hand."""

    def __init__(
        self,
        peer: int,
        settings: Settings = FAST,
        *,
        poisoned: Callable[[int], bool] = never,
        sizes: Sequence[int] = (4, 2),
    ) -> None:
        self.model = ToyModel()
        batches = ToyBatches(peer, sizes=sizes, poisoned=poisoned)
        self.method = FlexDeMo(settings, peer, SEED, self.model, batches)

    def save(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return self.model.trainable_state(), copy.deepcopy(self.method.state_dict())

    def load(self, saved: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
        self.model.load_trainable_state(saved[0])
        self.method.load_state_dict(copy.deepcopy(saved[1]))


Metrics = dict[int, dict[str, float]]


def train(network: ToyNetwork, peers: dict[int, Peer], rounds: range) -> Metrics:
    """What the last round's ``incoming`` said of each."""
    metrics: Metrics = {}
    for number in rounds:
        for peer in peers.values():
            peer.method.local_step(number)
        closed = network.close(number, {me: peer.method.outgoing() for me, peer in peers.items()})
        for peer in peers.values():
            peer.method.ahead(number + 1)
        metrics = {me: peer.method.incoming(network.swap(closed, me)) for me, peer in peers.items()}
    return metrics


def digests(peers: dict[int, Peer]) -> set[str]:
    return {peer.model.digest() for peer in peers.values()}


def sayings(network: ToyNetwork) -> list[Saying]:
    """Of the newest round."""
    words = [Word.parse(payload.body) for payload in network.history[-1].payloads]
    assert all(words)
    return [word.saying for word in words if word]


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_peers_are_equal_after_each_round_and_learn(scheme: Scheme) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, SCHEMES[scheme]) for n in range(3)}
    held_out = [b for step in range(20) for b in ToyBatches(peer=50).micro_batches(step)]
    for number in range(60):
        train(network, peers, range(number, number + 1))
        assert len(digests(peers)) == 1
    before, after = (sum(m.figure(b) for b in held_out) for m in (ToyModel(), peers[0].model))
    assert after < 0.9 * before


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("delay", [0, 1])
def test_a_resumed_peer_goes_on_bit_by_bit(scheme: Scheme, delay: int) -> None:
    settings = SCHEMES[scheme].model_copy(
        update={"delay": delay if scheme is not Scheme.DILOCO else 0}
    )
    straight = {n: Peer(n, settings) for n in range(2)}
    network = ToyNetwork()
    train(network, straight, range(3))
    saved = {n: peer.save() for n, peer in straight.items()}
    train(network, straight, range(3, 6))
    resumed = {n: Peer(n, settings) for n in range(2)}
    for n, peer in resumed.items():
        peer.load(saved[n])
    train(ToyNetwork(), resumed, range(3, 6))
    assert digests(resumed) == digests(straight)
    assert len(digests(resumed)) == 1


def test_with_a_delay_the_gradient_is_one_step_old_and_each_is_applied_once() -> None:
    settings = FAST.model_copy(update={"delay": 1})
    late, network = Peer(0, settings), ToyNetwork()
    weights = [late.model.trainable_state()]
    gradients: list[torch.Tensor] = []

    def gradient_at(state: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        other = Peer(0, FAST)
        other.model.load_trainable_state(state)
        other.method._engine.gradient(other.method._batches.micro_batches(step))
        return torch.cat(
            [p.grad.reshape(-1) for _, p in other.model.trainables() if p.grad is not None]
        )

    engine = late.method._engine
    compress = engine.compress

    def spied(*, hold: bool = False) -> bytes:
        gradients.append(torch.cat([p.grad.reshape(-1) for _, p in late.model.trainables()]))  # type: ignore[union-attr]
        return compress(hold=hold)

    engine.compress = spied  # type: ignore[method-assign]
    for number in range(4):
        train(network, {0: late}, range(number, number + 1))
        weights.append(late.model.trainable_state())
    for number, gradient in enumerate(gradients):
        assert torch.equal(gradient, gradient_at(weights[max(0, number - 1)], number))


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_peer_whose_gradient_is_nan_contributes_nothing_and_stays_in_step(scheme: Scheme) -> None:
    network = ToyNetwork()
    steps = range(3, 6) if scheme is Scheme.DILOCO else range(1, 2)
    peers = {
        n: Peer(n, SCHEMES[scheme], poisoned=lambda step, n=n: n == 1 and step in steps)  # type: ignore[misc]
        for n in range(3)
    }
    metrics = train(network, peers, range(2))
    assert sayings(network)[1] == Saying.NONFINITE
    assert metrics[0]["contributors"] == 2
    train(network, peers, range(2, 4))
    assert len(digests(peers)) == 1


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_newcomer_is_given_the_state_and_is_in_step_two_rounds_later(scheme: Scheme) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, SCHEMES[scheme]) for n in (1, 2)}
    train(network, peers, range(4))
    peers[0] = Peer(0, SCHEMES[scheme])

    def gone(closed: ClosedRound, peer: int) -> bytes:
        raise ExchangeError("the hub has kept only the newest")

    peers[0].method.catch_up(network.history, gone)
    train(network, peers, range(4, 5))
    assert sayings(network) == [Saying.HUNGRY, Saying.CONTRIBUTION, Saying.CONTRIBUTION]
    metrics = train(network, peers, range(5, 6))
    assert sayings(network) == [Saying.HUNGRY, Saying.STATE, Saying.CONTRIBUTION]
    assert metrics[0]["resyncs"] == 1
    assert len(digests(peers)) == 1
    train(network, peers, range(6, 9))
    assert set(sayings(network)) == {Saying.CONTRIBUTION}
    assert len(digests(peers)) == 1


def test_whoever_missed_little_replays_it() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(3)}
    train(network, peers, range(2))
    absent = peers.pop(1)
    train(network, peers, range(2, 4))
    absent.method.catch_up(network.history[2:], network.fetch)
    assert absent.model.digest() == peers[0].model.digest()
    peers[1] = absent
    train(network, peers, range(4, 5))
    assert sayings(network) == [Saying.CONTRIBUTION] * 3


def test_a_replay_that_costs_more_than_the_state_is_not_begun() -> None:
    settings = SCHEMES[Scheme.FULL]
    network, peers = ToyNetwork(), {n: Peer(n, settings) for n in range(3)}
    train(network, peers, range(4))
    late = Peer(3, settings)
    fetched: list[int] = []

    def fetch(closed: ClosedRound, peer: int) -> bytes:
        fetched.append(peer)
        return network.fetch(closed, peer)

    late.method.catch_up(network.history, fetch)
    assert not fetched


def test_wrong_weights_are_found_and_made_right() -> None:
    settings = FAST.model_copy(update={"checksum_every": 2})
    network, peers = ToyNetwork(), {n: Peer(n, settings) for n in range(3)}
    train(network, peers, range(2))
    with torch.no_grad():
        peers[2].model.head[0, 0] += 1e-3
    assert train(network, peers, range(2, 3))[2]["hungry"] == 1
    assert train(network, peers, range(3, 4))[2]["resyncs"] == 1
    assert len(digests(peers)) == 1


def test_if_nobody_has_a_state_the_lowest_peers_becomes_everybodys() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in (1, 2)}
    for n, peer in peers.items():
        with torch.no_grad():
            peer.model.head[0, 0] = float(n)
    train(network, peers, range(7, 8))
    assert sayings(network) == [Saying.HUNGRY] * 2
    train(network, peers, range(8, 9))
    assert sayings(network) == [Saying.STATE, Saying.HUNGRY]
    train(network, peers, range(9, 11))
    assert len(digests(peers)) == 1
    assert set(sayings(network)) == {Saying.CONTRIBUTION}


def test_the_giver_loses_nothing() -> None:
    """Its gradient of that round goes out later."""
    network, peers = ToyNetwork(), {n: Peer(n) for n in (1, 2)}
    train(network, peers, range(3))
    peers[0] = Peer(0)
    train(network, peers, range(3, 4))
    for peer in peers.values():
        peer.method.local_step(4)
    optimizer = peers[1].method._engine._optimizer  # type: ignore[attr-defined]
    (state,) = optimizer.state.values()
    held = float(state["momentum"].norm())
    before = network.history[-1]
    closed = network.close(4, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network.swap(closed, n))
    assert before.members == closed.members
    assert float(state["momentum"].norm()) == held > 0


def test_a_blob_that_is_gone_costs_a_resync_and_not_the_run() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(3)}
    train(network, peers, range(2))
    for peer in peers.values():
        peer.method.local_step(2)
    closed = network.close(2, {n: peer.method.outgoing() for n, peer in peers.items()})

    def gone(peer: int) -> bytes:
        raise ExchangeError("gone")

    def evicted(peer: int) -> bytes:
        raise Evicted("its lease has expired")

    with pytest.raises(Evicted):
        peers[1].method.incoming(Swap(closed, 1, evicted))
    peers[1].method.incoming(Swap(closed, 1, gone))
    for n in (0, 2):
        peers[n].method.incoming(network.swap(closed, n))
    train(network, peers, range(3, 5))
    assert len(digests(peers)) == 1


def test_half_precision_is_refused_without_sharding() -> None:
    model = ToyModel()
    model.head.data = model.head.data.bfloat16()
    with pytest.raises(Unsuited, match=r"needs trainable tensors in fp32, head is torch\.bfloat16"):
        FlexDeMo(FAST, 0, SEED, model, ToyBatches())


def test_a_peer_that_is_not_in_step_does_not_say_what_the_adapter_is() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in (1, 2)}
    train(network, peers, range(3))
    peers[0] = Peer(0)
    train(network, peers, range(3, 4))
    closed = network.history[-1]
    adapters = [peers[n].method.consensus(closed, network.fetch) for n in (1, 2)]
    assert all(torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
    with pytest.raises(NoConsensus):
        peers[0].method.consensus(closed, network.fetch)
    alone = ClosedRound(3, (0,), closed.payloads[:1], 1)
    with pytest.raises(CannotCatchUp):
        Peer(0).method.consensus(alone, network.fetch)
