"""Dec-LoRA over matchings and other graphs, with peers that are late: nobody waits, and nothing is lost on one side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from declora_peers import Peer, Untimely, train
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyNetwork

from haversack_trainer.exchange.log import ClosedRound, Late, Payload
from haversack_trainer.method import CannotCatchUp
from haversack_trainer.methods.declora.kinds import Codec, Graph, MixerKind
from haversack_trainer.methods.declora.word import words

LATE: dict[str, Any] = {"graph": Graph.MATCHINGS, "max_staleness": 4}


def crew(count: int, **options: Any) -> dict[int, Peer]:
    graph = options.pop("graph", Graph.RING)
    return {peer: Peer(peer, graph, **options) for peer in range(count)}


def total(peers: Mapping[int, Peer]) -> np.ndarray:
    return np.asarray(torch.stack([peer.vector() for peer in peers.values()]).sum(0))


def a_round(
    hub: Untimely, peers: Mapping[int, Peer], number: int, missed: tuple[int, ...]
) -> tuple[ClosedRound, np.ndarray]:
    """The closed round, and the sum of all states before they mixed."""
    for peer in peers.values():
        peer.method.local_step(number)
    closed = hub.close(number, {me: peer.method.outgoing() for me, peer in peers.items()}, missed)
    before = total(peers)
    for me, peer in peers.items():
        peer.method.incoming(hub.swap(closed, me))
    return closed, before


@pytest.mark.parametrize("n", [2, 5])
def test_a_round_of_pairs_preserves_the_mean_and_halves_the_messages(n: int) -> None:
    network, peers = ToyNetwork(), crew(n, graph=Graph.MATCHINGS)
    train(network, peers, range(3))
    size = len(network.blobs[0, 0])
    assert sum(network.received.values()) == 3 * (n - n % 2) * size
    hub = Untimely()
    _, before = a_round(hub, peers, 3, ())
    assert total(peers) == pytest.approx(before, abs=1e-5)


@settings(max_examples=8, deadline=None)
@given(
    graph=st.sampled_from([Graph.MATCHINGS, Graph.RING]),
    codec=st.sampled_from([Codec.FLOAT32, Codec.INT8]),
    missed=st.lists(st.sets(st.integers(0, 4), max_size=4), min_size=4, max_size=4),
)
def test_whoever_is_late_the_mean_stays(graph: Graph, codec: Codec, missed: list[set[int]]) -> None:
    hub, peers = Untimely(), crew(5, graph=graph, codec=codec, max_staleness=4)
    for number, late in enumerate(missed):
        _, before = a_round(hub, peers, number, tuple(sorted(late)))
        assert total(peers) == pytest.approx(before, abs=1e-5)


def test_a_late_state_is_mixed_with_its_partner_s_and_its_peer_keeps_what_it_has_learnt() -> None:
    hub, peers = Untimely(), crew(2, **LATE)
    a_round(hub, peers, 0, (1,))
    published = peers[1].vector()
    peers[0].method.local_step(1)
    peers[1].method.local_step(1)
    learnt, other = peers[1].vector(), peers[0].vector()
    closed = hub.close(1, {0: peers[0].method.outgoing()}, (1,))
    assert list(words(closed, 4)) == [0, 1]
    for me, peer in peers.items():
        peer.method.incoming(hub.swap(closed, me))
    half = (published - other) / 2
    assert peers[0].vector().numpy() == pytest.approx((other + half).numpy(), abs=1e-6)
    assert peers[1].vector().numpy() == pytest.approx((learnt - half).numpy(), abs=1e-6)


def test_what_is_older_than_allowed_is_left_by_all() -> None:
    late = Late(1, Payload(1, b"x" * 60))
    closed = ClosedRound(4, (0,), (Payload(0, b"y" * 60),), 9, (1, 2), (late,))
    assert list(words(closed, 2)) == [0]
    assert list(words(closed, 3)) == [0, 1]
    assert list(words(closed)) == [0]


def test_who_published_in_time_is_taken_by_that_whatever_came_late() -> None:
    late = Late(3, Payload(0, b"x" * 60))
    closed = ClosedRound(4, (0,), (Payload(0, b""),), 9, (), (late,))
    assert list(words(closed, 8)) == []


def behind(
    peers: dict[int, Peer], hub: Untimely, count: int
) -> tuple[list[ClosedRound], torch.Tensor]:
    """``count`` rounds that peer 1 slept through after it had published for round 0, late; and what peer 0
    published in the first of them."""
    a_round(hub, peers, 0, (1,))
    missed, published = [], []
    for number in range(1, count + 1):
        peers[0].method.local_step(number)
        published.append(peers[0].vector())
        closed = hub.close(number, {0: peers[0].method.outgoing()}, (1,))
        peers[0].method.incoming(hub.swap(closed, 0))
        missed.append(closed)
    return missed, published[0]


def test_who_slept_for_some_rounds_goes_on_from_its_own_state() -> None:
    hub, peers = Untimely(), crew(2, **LATE)
    missed, other = behind(peers, hub, 3)
    own = peers[1].vector()
    peers[1].method.catch_up(missed, hub.fetch)
    # The first of the rounds had the late state in it, the others had nothing of this peer's.
    assert peers[1].vector().numpy() == pytest.approx(((own + other) / 2).numpy(), abs=1e-6)
    assert peers[1].method.state_dict()["optimizer"]["state"]


def test_who_slept_too_long_starts_from_the_mean() -> None:
    hub, peers = Untimely(), crew(2, **LATE)
    missed, _ = behind(peers, hub, 5)
    peers[1].method.catch_up(missed, hub.fetch)
    mean = peers[0].method.consensus(missed[-1], hub.fetch)
    assert all(torch.equal(t, mean[name]) for name, t in peers[1].model.trainable_state().items())


def test_without_the_blobs_nobody_catches_up() -> None:
    hub, peers = Untimely(), crew(2, **LATE)
    missed, _ = behind(peers, hub, 2)
    hub.blobs.clear()
    with pytest.raises(CannotCatchUp, match="round 2 is not whole any more"):
        peers[1].method.catch_up(missed, hub.fetch)


@pytest.mark.parametrize("mixer", [MixerKind.FACTOR, MixerKind.FFA, MixerKind.ADF, MixerKind.AUTO])
def test_it_learns_with_a_peer_that_is_late_every_other_round(mixer: MixerKind) -> None:
    hub, peers = Untimely(), crew(4, mixer=mixer, **LATE)
    start = [peer.method.local_step(0).loss for peer in crew(4).values()]
    for number in range(12):
        closed, _ = a_round(hub, peers, number, (3,) if number % 2 else ())
    found = [peer.method.consensus(closed, hub.fetch) for peer in peers.values()]
    first = found[0]
    assert all(torch.equal(first[name], each[name]) for each in found for name in first)
    end = [peer.method.local_step(12).loss for peer in peers.values()]
    assert sum(end) < 0.8 * sum(start)
