"""Which layers travel, and what stays with its peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from droppeft_peers import HEAD, PER_LAYER, SEED, Peer, digests, train
from hypothesis import given
from hypothesis import strategies as st
from layered_toys import LayeredToy
from toys import ToyBatches, ToyNetwork

from haversack_trainer.exchange.codec import HEADER_BYTES
from haversack_trainer.methods.droppeft.kinds import Sampler
from haversack_trainer.methods.droppeft.method import DropPeft
from haversack_trainer.methods.droppeft.settings import Settings, Share
from haversack_trainer.methods.droppeft.sharing import choose, smoothed

EXAMPLES = Path(__file__).parents[3] / "examples"
LOW: dict[str, Any] = {"share": "Low", "drop_rate": "0.3"}


def settings(share: str, count: int | None = None, change: str = "0.25") -> Settings:
    return Settings(share=share, shared_layers=count, max_share_change=change)


def test_importance_is_smoothed_over_the_rounds_in_which_a_layer_ran() -> None:
    first = smoothed(None, (2.0, 4.0, 0.0), (3, 1, 0), 0.5)
    assert first == (2.0, 4.0, 0.0)
    assert smoothed(first, (4.0, 9.0, 6.0), (3, 0, 1), 0.5) == (3.0, 4.0, 6.0)


@pytest.mark.parametrize(
    ("share", "expected"), [("Low", {1, 3}), ("High", {0, 2}), ("FixedBottom", {0, 1})]
)
def test_the_first_choice_is_free(share: str, expected: set[int]) -> None:
    assert choose(settings(share, 2), range(4), (4.0, 1.0, 3.0, 2.0), None) == expected


def test_all_layers_or_half_of_the_trained_ones_are_shared_by_default() -> None:
    assert choose(settings("All"), {1, 2, 3}, (0.0,) * 4, None) == {1, 2, 3}
    assert choose(settings("Low"), {0, 2, 3, 4}, (1.0, 0.0, 4.0, 3.0, 2.0), None) == {0, 4}
    assert choose(settings("Low", 9), {1, 2}, (1.0,) * 3, None) == {1, 2}


@pytest.mark.parametrize("share", ["Low", "High"])
def test_a_layer_that_never_ran_has_nothing_of_its_own(share: str) -> None:
    assert choose(settings(share, 1), range(3), (1.0, 0.0, 3.0), None) == {1}


@given(
    st.lists(st.floats(0.1, 10), min_size=8, max_size=8),
    st.sets(st.integers(0, 7), min_size=4, max_size=4),
    st.sampled_from(["Low", "High"]),
    st.sampled_from(["0.1", "0.25", "0.5", "1"]),
)
def test_the_set_keeps_its_size_and_changes_slowly_towards_what_is_wanted(
    importance: list[float], previous: set[int], share: str, change: str
) -> None:
    chosen = choose(settings(share, 4, change), range(8), importance, previous)
    wanted = choose(settings(share, 4), range(8), importance, None)
    most = max(1, int(float(change) * 4))
    assert len(chosen) == 4
    assert len(previous - chosen) == min(most, len(previous - wanted))
    assert chosen - previous <= wanted
    assert previous & wanted <= chosen


def test_what_is_personal_stays_at_home_and_what_is_shared_is_equal() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, **LOW) for n in range(3)}
    train(network, peers, range(4))
    assert len(digests(peers)) == 3
    sets = [peer.method._share or frozenset() for peer in peers.values()]
    both = sets[0] & sets[1] & sets[2]
    states = [peer.model.trainable_state() for peer in peers.values()]
    for name, tensor in states[0].items():
        layer = int(name[7]) if name.startswith("layers.") else None
        if layer is None or layer in both:
            assert torch.equal(tensor, states[1][name])
        elif layer not in sets[0] | sets[1]:
            assert not torch.equal(tensor, states[1][name])
    shared = [peer.method.consensus(network.history[-1], network.fetch) for peer in peers.values()]
    assert all(torch.equal(shared[0][name], other[name]) for other in shared for name in other)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_bytes_are_those_of_the_shared_layers(count: int) -> None:
    network = ToyNetwork()
    peers = {n: Peer(n, share="Low", shared_layers=count, drop_rate="0") for n in range(2)}
    train(network, peers, range(2))
    for blob in network.blobs.values():
        assert len(blob) == HEADER_BYTES + 4 * (count * PER_LAYER + HEAD)


def test_sharing_every_layer_is_federated_averaging() -> None:
    states = []
    both: tuple[dict[str, Any], ...] = ({"share": "All"}, {"share": "Low", "shared_layers": 4})
    for changes in both:
        network, peers = ToyNetwork(), {n: Peer(n, drop_rate="0", **changes) for n in range(3)}
        train(network, peers, range(3))
        assert len(digests(peers)) == 1
        states.append(digests(peers))
    assert states[0] == states[1]


def test_sharing_no_layer_is_training_alone() -> None:
    alone: dict[str, Any] = {"share": "Low", "shared_layers": 0, "head": "Personal"}
    network, peers = ToyNetwork(), {n: Peer(n, **alone) for n in range(2)}
    train(network, peers, range(3))
    lone = Peer(0, **alone)
    train(ToyNetwork(), {0: lone}, range(3))
    assert lone.model.digest() == peers[0].model.digest()
    initial = LayeredToy().trainable_state()
    shared = peers[0].method.consensus(network.history[-1], network.fetch)
    assert all(torch.equal(shared[name], initial[name]) for name in initial)


def test_a_resumed_peer_has_its_own_layers_again_and_a_newcomer_all_shared_ones() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, **LOW) for n in range(2)}
    train(network, peers, range(3))
    again = {}
    for n, peer in peers.items():
        again[n] = Peer(n, **LOW)
        again[n].model.load_trainable_state(peer.model.trainable_state())
        again[n].method.load_state_dict(peer.method.state_dict())
    common = {name: peers[0].method.state_dict()[name] for name in ("members", "pulls", "shared")}
    newcomer = Peer(2, **LOW)
    newcomer.model.load_trainable_state(common["shared"])
    newcomer.method.load_state_dict(common)
    consensus = peers[0].method.consensus(network.history[-1], network.fetch)
    for name, tensor in newcomer.method.consensus(network.history[-1], network.fetch).items():
        assert torch.equal(tensor, consensus[name])
    train(network, peers, range(3, 6))
    train(ToyNetwork(), again, range(3, 6))
    assert [p.model.digest() for p in again.values()] == [p.model.digest() for p in peers.values()]


def test_the_papers_settings_are_what_is_known_of_it_and_run() -> None:
    spec = yaml.safe_load((EXAMPLES / "droppeft-paper.yaml").read_text())["spec"]
    paper = Settings.model_validate(spec["method"]["dropPEFT"])
    assert paper.sampler is Sampler.BERNOULLI
    assert (paper.configurator, paper.reward) == ("EpsilonGreedy", "AccuracyRate")
    assert (paper.share, paper.cohort_size, paper.rescale) == (Share.LOW, 10, "None")
    network, methods = ToyNetwork(), {}
    for n in range(12):
        quick = paper.model_copy(update={"local_steps": 1, "probe_steps": 1})
        methods[n] = DropPeft(quick, n, SEED, LayeredToy(6), ToyBatches(n))
    for number in range(3):
        results = network.run(methods, number)
        trained = sum(result.num_samples > 0 for result in results.values())
        assert trained == (10 if number else 12)
