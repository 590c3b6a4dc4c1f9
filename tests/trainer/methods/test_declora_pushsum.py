"""Push-sum: whatever is lost on the way, nothing of the mass is, and all come to the mean."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from declora_peers import Peer, Untimely
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES
from haversack_trainer.exchange.topology import topology
from haversack_trainer.methods.declora.kinds import Graph, MixerKind, Weights
from haversack_trainer.methods.declora.pushsum import MAX_ROUNDS, PushSum
from haversack_trainer.methods.declora.word import Word, words

Way = tuple[int, int]
"""Reader and writer."""


def read(word: Word) -> Word:
    """As all read it in the log."""
    body = word.encode() + bytes(DIGEST_BYTES)
    return words(ClosedRound(0, (0,), (Payload(0, body),), 1))[0]


@dataclass
class Network:
    """Peers with one number each, in fp64."""

    values: dict[int, float]
    graph: str = Graph.RING
    accounts: dict[int, PushSum] = field(init=False)
    number: int = 0

    def __post_init__(self) -> None:
        self.accounts = {peer: PushSum(peer) for peer in self.values}

    def round(
        self, lost: AbstractSet[Way] = frozenset(), absent: AbstractSet[int] = frozenset()
    ) -> None:
        there = tuple(peer for peer in self.values if peer not in absent)
        said = {peer: read(self.accounts[peer].say(Word())) for peer in there}
        graph = topology(self.graph, there, weights=Weights.PUSH_SUM)
        before = {peer: {"x": np.array([value])} for peer, value in self.values.items()}
        for me, account in self.accounts.items():
            near = graph.neighbours(me) if me in there else ()
            arrived = {peer: before[peer] for peer in near if (me, peer) not in lost}
            at = graph if me in there else None
            shares, states = account.receive(self.number, said, at, before[me], arrived)
            assert sum(shares.values()) == pytest.approx(1)
            self.values[me] = sum(share * states[key]["x"][0] for key, share in shares.items())
        self.number += 1

    @property
    def total(self) -> tuple[float, float]:
        """Sum of all that there is, and of what it counts."""
        masses = {peer: account.mass for peer, account in self.accounts.items()}
        return sum(masses[peer] * self.values[peer] for peer in masses), sum(masses.values())


WAYS = st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20)


@settings(max_examples=80, deadline=None)
@given(
    values=st.lists(st.floats(-10, 10), min_size=6, max_size=6),
    graph=st.sampled_from([Graph.RING, Graph.EXPONENTIAL, Graph.COMPLETE, Graph.STAR]),
    rounds=st.lists(st.tuples(WAYS, st.frozensets(st.integers(0, 5), max_size=3)), max_size=6),
)
def test_whatever_is_lost_comes_back_to_its_sender(
    values: list[float], graph: Graph, rounds: list[tuple[frozenset[Way], frozenset[int]]]
) -> None:
    network = Network(dict(enumerate(values)), graph)
    before = network.total
    for lost, absent in rounds:
        network.round(lost, absent)
    network.round()
    assert network.total == pytest.approx(before, abs=1e-9)
    assert all(account.mass > 0 for account in network.accounts.values())


def test_what_is_lost_and_not_told_yet_is_missing_and_no_more() -> None:
    network = Network({0: 1.0, 1: 2.0, 2: 6.0})
    network.round({(0, 2)})
    assert network.total == pytest.approx((9 - 6 / 3, 3 - 1 / 3))
    network.round()
    assert network.total == pytest.approx((9, 3))


@pytest.mark.parametrize("graph", [Graph.RING, Graph.EXPONENTIAL])
def test_all_come_to_the_mean_though_a_third_is_lost(graph: Graph) -> None:
    rng = np.random.default_rng(3)
    network = Network(dict(enumerate(rng.normal(size=8))), graph)
    mean = np.mean(list(network.values.values()))
    for _ in range(150):
        ways = [(i, j) for i in range(8) for j in range(8) if rng.random() < 1 / 3]
        network.round(frozenset(ways))
    assert list(network.values.values()) == pytest.approx([mean] * 8, abs=1e-6)


def test_uneven_degrees_do_not_move_the_mean() -> None:
    network = Network({0: 0.0, 1: 0.0, 2: 4.0, 3: 0.0, 4: 1.0, 5: 1.0}, Graph.EXPONENTIAL)
    for number in range(120):
        # Peers that come and go change the degrees of the others.
        network.round(absent=frozenset({number % 6}))
    assert list(network.values.values()) == pytest.approx([1.0] * 6, abs=1e-6)


def test_a_peer_that_is_not_heard_of_again_has_taken_what_it_got() -> None:
    network = Network({0: 1.0, 1: 2.0, 2: 6.0})
    network.round({(0, 2)})
    gone = frozenset({0})
    for _ in range(MAX_ROUNDS + 1):
        network.round(absent=gone)
    assert not any(0 in gift["to"] for gift in network.accounts[2].state()["given"])
    held = network.accounts[2].mass + network.accounts[1].mass
    assert held == pytest.approx(3 - 1 / 3 - network.accounts[0].mass)


def test_an_account_comes_back_from_a_checkpoint() -> None:
    network = Network({0: 1.0, 1: 2.0, 2: 6.0})
    network.round({(0, 2), (1, 0)})
    for peer, account in network.accounts.items():
        again = PushSum(peer)
        again.load(account.state())
        network.accounts[peer] = again
    network.round()
    assert network.total == pytest.approx((9, 3))


@given(
    mass=st.floats(1e-9, 1e8),
    lost=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)), max_size=9),
    links=st.dictionaries(st.integers(0, 255), st.just(1.5), max_size=4),
)
def test_a_word_with_an_account_is_read_as_it_was_written(
    mass: float, lost: list[tuple[int, int]], links: dict[int, float]
) -> None:
    word = Word(7, 0.5, has_moved=True, links=links, plan=((0, 1),), mass=mass, lost=tuple(lost))
    assert read(word) == word


@pytest.mark.parametrize("mass", [0.0, -1.0, float("nan"), float("inf"), 1e10])
def test_a_mass_that_is_none_is_no_word(mass: float) -> None:
    assert read(Word(7, mass=mass)) == Word()


def test_bytes_behind_a_word_make_it_none() -> None:
    for word in (Word(7), Word(7, mass=1.0)):
        body = word.encode() + b"x" + bytes(DIGEST_BYTES)
        assert words(ClosedRound(0, (0,), (Payload(0, body),), 1))[0] == Word()


def crew(count: int, mixer: MixerKind = MixerKind.FACTOR) -> dict[int, Peer]:
    return {n: Peer(n, Graph.RING, weights=Weights.PUSH_SUM, mixer=mixer) for n in range(count)}


def held(peers: dict[int, Peer]) -> np.ndarray:
    """All that the peers have, by what it counts."""
    masses = [peer.method.state_dict()["push"]["mass"] for peer in peers.values()]
    rows = [mass * peer.vector() for mass, peer in zip(masses, peers.values(), strict=True)]
    return np.asarray(torch.stack(rows).sum(0))


def a_round(hub: Untimely, peers: dict[int, Peer], number: int, *, loses: bool) -> ClosedRound:
    closed = hub.close(number, {me: peer.method.outgoing() for me, peer in peers.items()}, ())
    kept = dict(hub.blobs)
    for me, peer in peers.items():
        if loses and me == 1:
            hub.blobs.clear()
        figures = peer.method.incoming(hub.swap(closed, me))
        assert figures["lost_states"] == (2 if loses and me == 1 else 0)
        hub.blobs.update(kept)
    return closed


@pytest.mark.parametrize("mixer", [MixerKind.FACTOR, MixerKind.ADF])
def test_a_reader_whose_fetches_fail_goes_on_and_the_senders_take_it_back(mixer: MixerKind) -> None:
    hub, peers = Untimely(), crew(4, mixer)
    for peer in peers.values():
        peer.method.local_step(0)
    before = held(peers)
    a_round(hub, peers, 0, loses=True)
    assert held(peers) != pytest.approx(before, abs=1e-3)
    closed = a_round(hub, peers, 1, loses=False)
    assert held(peers) == pytest.approx(before, abs=1e-5)
    results = [peer.method.consensus(closed, hub.fetch) for peer in peers.values()]
    assert all(torch.equal(results[0][name], each[name]) for each in results for name in each)


def test_a_newcomer_brings_a_mass_of_one() -> None:
    hub, peers = Untimely(), crew(3)
    rounds = []
    for number in range(2):
        for peer in peers.values():
            peer.method.local_step(number)
        rounds.append(a_round(hub, peers, number, loses=not number))
    late = Peer(3, Graph.RING, weights=Weights.PUSH_SUM)
    late.method.catch_up(rounds, hub.fetch)
    mean = peers[0].method.consensus(rounds[-1], hub.fetch)
    assert all(torch.equal(t, mean[name]) for name, t in late.model.trainable_state().items())
    assert late.method.state_dict()["push"]["mass"] == 1.0
