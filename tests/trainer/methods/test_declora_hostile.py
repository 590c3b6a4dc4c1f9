"""Dec-LoRA among peers that send what cannot be right, and robust averages among those who lie well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from declora_peers import Peer, train
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyModel, ToyNetwork

from haversack_trainer.contract.robust import Robust, Rule
from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.codec import HEADER_BYTES, Layout
from haversack_trainer.method import CannotCatchUp
from haversack_trainer.methods.declora.kinds import Codec, Graph, MixerKind, Weights
from haversack_trainer.methods.declora.mixers import mixer_of
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.taking import mean

LAYOUT = Layout.of({name: t.numpy() for name, t in ToyModel().trainable_state().items()})


def filled(value: float) -> bytes:
    """A state of the right shape, all of whose numbers are ``value``."""
    return LAYOUT.encode({n: np.full(shape, value, np.float32) for n, shape in LAYOUT.entries})


def wrong_shape() -> bytes:
    return Layout((("head", (3, 7)),)).encode({"head": np.zeros((3, 7), np.float32)})


Twist = Callable[[Outgoing], Outgoing]


def instead(blob: bytes) -> Twist:
    return lambda out: replace(out, blob=blob)


HOSTILE: dict[str, Twist] = {
    "NaN": instead(filled(float("nan"))),
    "an infinity": instead(filled(float("inf"))),
    "a huge norm": instead(filled(1e6)),
    "a norm that overflows": instead(filled(3e38)),
    "another shape": instead(wrong_shape()),
    "half of it": lambda out: replace(out, blob=(out.blob or b"")[: HEADER_BYTES + 8]),
    "nothing": instead(b""),
}


def rounds_with(
    peers: dict[int, Peer], liar: int, twist: Twist, network: ToyNetwork, count: int
) -> list[dict[str, float]]:
    """Rounds in which ``liar`` publishes something else; what peer 0 tells of them."""
    told = []
    for number in range(count):
        for peer in peers.values():
            peer.method.local_step(number)
        sent = {n: peer.method.outgoing() for n, peer in peers.items()}
        closed = network.close(number, sent | {liar: twist(sent[liar])})
        figures = {
            n: p.method.incoming(network.swap(closed, n)) for n, p in peers.items() if n != liar
        }
        told.append(figures[0])
    return told


@pytest.mark.parametrize("twist", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("codec", Codec)
def test_a_peer_that_sends_what_cannot_be_right_is_refused_and_counted(
    twist: Twist, codec: Codec
) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, Graph.COMPLETE, codec=codec) for n in range(3)}
    told = rounds_with(peers, 2, twist, network, 3)
    assert [figures["refused"] for figures in told] == [1, 1, 1]
    assert told[0]["refused_peer_2"] == 1
    assert all(torch.isfinite(peers[n].vector()).all() for n in (0, 1))
    apart = float((peers[0].vector() - peers[1].vector()).norm())
    assert apart < 0.5 * float((peers[0].vector() - Peer(0).vector()).norm())


def test_a_change_of_what_nobody_has_is_not_mixed() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, Graph.COMPLETE, codec=Codec.INT8) for n in range(3)}
    rounds_with(peers, 2, lambda out: replace(out, aux=7, blob=b"\0" * 64), network, 3)
    assert all(torch.isfinite(peers[n].vector()).all() for n in (0, 1))


def test_without_the_liar_the_others_keep_their_mean() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, Graph.COMPLETE) for n in range(3)}
    rounds_with(peers, 2, HOSTILE["NaN"], network, 1)
    both = (peers[0].vector() + peers[1].vector()) / 2
    late = Peer(4, Graph.COMPLETE)
    late.method.catch_up(network.history, network.fetch)
    assert late.vector().numpy() == pytest.approx(both.numpy(), abs=1e-6)


def test_where_nobody_is_sound_there_is_no_adapter() -> None:
    network, peer = ToyNetwork(), Peer(0)
    closed = network.close(0, {1: Outgoing(b"w" * 8, blob=filled(1e9))})
    with pytest.raises(CannotCatchUp, match="no peer had a sound state in round 0"):
        peer.method.consensus(closed, network.fetch)


def test_a_word_too_short_for_a_blob_is_no_state() -> None:
    network, peer = ToyNetwork(), Peer(0, Graph.COMPLETE)
    peer.method.local_step(0)
    closed = network.close(0, {0: peer.method.outgoing(), 1: Outgoing(body=b"x")})
    assert peer.method.incoming(network.swap(closed, 0))["refused"] == 0


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(min_size=1, max_size=90), st.integers(-128, 127))
def test_whatever_bytes_come_the_peer_goes_on(blob: bytes, body: bytes, aux: int) -> None:
    network, peer = ToyNetwork(), Peer(0, Graph.COMPLETE)
    before = peer.vector()
    peer.method.local_step(0)
    hostile = Outgoing(body, aux, blob)
    closed = network.close(0, {0: peer.method.outgoing(), 1: hostile})
    assert peer.method.incoming(network.swap(closed, 0))["refused"] == 1
    assert float((peer.vector() - before).norm()) < 10


def test_who_is_refused_is_no_more_among_those_that_a_robust_average_must_withstand() -> None:
    """Three peers are enough for one that is wrong: it cannot keep the two others apart by sending rubbish."""
    network, peers = ToyNetwork(), {n: Peer(n, Graph.COMPLETE, robust=Robust()) for n in range(3)}
    rounds_with(peers, 2, HOSTILE["NaN"], network, 1)
    assert peers[0].model.digest() == peers[1].model.digest()
    late = Peer(4, Graph.COMPLETE, robust=Robust())
    late.method.catch_up(network.history, network.fetch)
    assert late.vector().numpy() == pytest.approx(peers[0].vector().numpy(), abs=1e-6)


@pytest.mark.parametrize("rule", Rule)
def test_a_robust_average_withstands_a_liar_that_looks_sound(rule: Rule) -> None:
    """Five of them as large as sound states may be would carry a mean away."""
    robust = Robust(rule=rule, num_faulty=1)
    honest = {n: Peer(n, Graph.COMPLETE) for n in range(5)}
    train(ToyNetwork(), honest, range(3))
    ways = {}
    for used in (None, robust):
        peers = {n: Peer(n, Graph.COMPLETE, robust=used) for n in range(6)}
        rounds_with(peers, 5, instead(filled(4.0)), ToyNetwork(), 3)
        ways[used] = float((peers[0].vector() - honest[0].vector()).norm())
    assert ways[robust] < 0.2
    assert ways[None] > 1


def test_all_average_alike_on_the_complete_graph_and_so_is_the_runs_adapter() -> None:
    network = ToyNetwork()
    peers = {n: Peer(n, Graph.COMPLETE, robust=Robust(rule=Rule.MEDIAN)) for n in range(4)}
    train(network, peers, range(2))
    assert len({peer.model.digest() for peer in peers.values()}) == 1
    made = peers[0].method.consensus(network.history[-1], network.fetch)
    assert all(torch.equal(t, made[n]) for n, t in peers[1].model.trainable_state().items())


def test_a_neighbourhood_too_small_leaves_a_peer_as_it_is() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, robust=Robust()) for n in range(2)}
    for peer in peers.values():
        peer.method.local_step(0)
    before = {n: peer.model.digest() for n, peer in peers.items()}
    closed = network.close(0, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network.swap(closed, n))
        assert peer.model.digest() == before[n]


def test_too_few_for_a_robust_adapter_is_said_instead_of_taking_one_peer_s() -> None:
    """More are lost than the rule withstands: none of those that are left may pass for the average of all."""
    network = ToyNetwork(lost={(0, 1), (0, 2)})
    peers = {n: Peer(n, Graph.COMPLETE, robust=Robust(num_faulty=2)) for n in range(3)}
    train(network, peers, range(1))
    network.lost.clear()
    with pytest.raises(CannotCatchUp, match=r"too few sound states for robust\.numFaulty, 3"):
        peers[0].method.consensus(network.history[0], network.fetch)


@pytest.mark.parametrize(
    ("chosen", "min_peers", "says"),
    [
        (Settings(robust=Robust()), 3, None),
        (Settings(robust=Robust()), 2, "minPeers leaves only 2; write 0 or less"),
        (Settings(robust=Robust(num_faulty=2)), 9, "minPeers leaves only 3; write 1 or less"),
        (Settings(graph=Graph.COMPLETE, robust=Robust(rule=Rule.KRUM)), 5, None),
        (Settings(graph=Graph.STAR, robust=Robust(rule=Rule.KRUM)), 4, "only 4; write 0 or less"),
        (
            Settings(graph=Graph.EDGES, edges=["0-1", "1-2"], robust=Robust()),
            3,
            "edges gives a peer and its neighbours only 2",
        ),
        (Settings(weights=Weights.SAMPLES), 1, None),
    ],
)
def test_a_rule_for_more_than_a_neighbourhood_has_is_refused(
    chosen: Settings, min_peers: int, says: str | None
) -> None:
    told = chosen.fault_of_few(min_peers)
    assert (told is None) == (says is None)
    assert says is None or says in (told or "")


def test_a_state_that_is_gone_is_not_taken_for_the_wrong_one() -> None:
    """One of five may be wrong. Of the four that are left it may still be, unless the fifth was refused for it."""
    good, wrong = {"a": np.zeros(1, np.float32)}, {"a": np.ones(1, np.float32)}
    states = {0: good, 1: wrong, 3: good, 4: good}
    chosen = Robust(rule=Rule.TRIMMED_MEAN, num_faulty=1), mixer_of(MixerKind.FACTOR)
    shares = dict.fromkeys(range(5), 0.2)
    gone = mean(*chosen, shares, states, 0)
    refused = mean(*chosen, shares, states, 1)
    assert gone is not None
    assert refused is not None
    assert (gone["a"].item(), refused["a"].item()) == (0.0, 0.25)


def test_of_the_run_s_adapter_who_is_gone_is_missing_and_not_wrong() -> None:
    network = ToyNetwork(lost={(0, 1)})
    robust = Robust(rule=Rule.TRIMMED_MEAN, num_faulty=1)
    peers = {n: Peer(n, Graph.COMPLETE, robust=robust) for n in range(4)}
    train(network, peers, range(1))
    found = peers[0].method.consensus(network.history[0], network.fetch)
    left = [LAYOUT.decode(network.blobs[0, n]) for n in (0, 2, 3)]
    for name, tensor in found.items():
        middle = np.median(np.stack([state[name] for state in left]), axis=0)
        assert tensor.numpy() == pytest.approx(middle)
