"""``graph: MeasuredLinks``: probing, measuring, and one plan for all, whoever comes and goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest
from declora_peers import SEED, Peer
from toys import ToyBatches, ToyNetwork

from haversack_trainer.exchange.base import Swap
from haversack_trainer.exchange.graphs import is_connected
from haversack_trainer.methods.declora.kinds import Codec, Graph
from haversack_trainer.methods.declora.method import DecLora
from haversack_trainer.methods.declora.network import network, probing
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.survey import Survey
from haversack_trainer.methods.declora.word import Word, words


def seconds_between(one: int, other: int) -> float:
    """Two sites, even and odd, with a slow link between any two peers of different ones."""
    return 0.01 if one % 2 == other % 2 else 1.0


@dataclass
class Sites:
    """Peers at two sites; fetching moves the clock."""

    codec: Codec = Codec.FLOAT32
    now: float = 0.0
    network: ToyNetwork = field(default_factory=ToyNetwork)
    peers: dict[int, Peer] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(graph=Graph.MEASURED_LINKS, rho_percent=90, local_steps=1, codec=self.codec)

    def add(self, number: int) -> Peer:
        peer = self.peers[number] = Peer(number)
        batches = ToyBatches(number)
        peer.method = DecLora(
            self.settings, number, SEED, peer.model, batches, clock=lambda: self.now
        )
        return peer

    def round(self) -> None:
        for peer in self.peers.values():
            peer.method.local_step(len(self.network.history))
        outgoing = {n: peer.method.outgoing() for n, peer in self.peers.items()}
        closed = self.network.close(len(self.network.history), outgoing)
        for me, peer in self.peers.items():
            plain = self.network.swap(closed, me)

            def fetch(other: int, me: int = me, plain: Swap = plain) -> bytes:
                self.now += seconds_between(me, other)
                return plain.fetch(other)

            peer.method.incoming(Swap(closed, me, fetch))

    def slow_edges(self) -> int:
        closed = self.network.history[-1]
        graph = network(self.settings.shape, SEED, words(closed), closed.round)
        edges = np.argwhere(np.triu(graph.adjacency)).tolist()
        return sum(seconds_between(graph.peers[a], graph.peers[b]) > 0.5 for a, b in edges)

    def is_planned(self) -> bool:
        said = words(self.network.history[-1])
        return bool(said[min(said)].plan)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9, 10, 16])
def test_probing_measures_every_pair_in_half_as_many_rounds_as_there_are_peers(n: int) -> None:
    met = np.zeros((n, n), dtype=bool)
    for number in range(max(n // 2 - 1, 1)):
        graph = probing(n, number)
        assert is_connected(graph)
        met |= graph
    assert (met | np.eye(n, dtype=bool)).all()


@pytest.mark.parametrize("codec", [Codec.FLOAT32, Codec.INT8])
def test_after_probing_all_follow_a_plan_that_spares_the_slow_links(codec: Codec) -> None:
    sites = Sites(codec)
    for number in range(10):
        sites.add(number)
    planned = []
    for _ in range(8):
        sites.round()
        planned.append(sites.is_planned())
    # Four rounds of probing, one to tell of the last.
    assert planned == [False] * 5 + [True] * 3
    assert sites.slow_edges() <= 3
    for peer in sites.peers.values():
        peer.method.local_step(8)
    before = np.mean([peer.vector().numpy() for peer in sites.peers.values()], axis=0)
    closed = sites.network.close(8, {n: p.method.outgoing() for n, p in sites.peers.items()})
    for me, peer in sites.peers.items():
        peer.method.incoming(sites.network.swap(closed, me))
    after = np.mean([peer.vector().numpy() for peer in sites.peers.values()], axis=0)
    assert after == pytest.approx(before, abs=1e-6)


def test_when_the_planner_leaves_the_next_one_plans_and_a_newcomer_is_taken_in() -> None:
    sites = Sites()
    for number in range(6):
        sites.add(number)
    for _ in range(6):
        sites.round()
    assert sites.is_planned()
    del sites.peers[0]
    sites.round()
    sites.round()
    assert sites.is_planned()
    late = sites.add(6)
    late.method.catch_up(sites.network.history, sites.network.fetch)
    sites.round()
    sites.round()
    said = words(sites.network.history[-1])
    assert {end for edge in said[1].plan for end in edge} == set(range(1, 7))


def test_a_plan_stays_until_the_peers_change() -> None:
    survey, peers = Survey(0.9), (0, 1, 2, 3)
    assert survey.plan(peers) == ()
    links = {
        one: {other: seconds_between(one, other) for other in peers if other != one}
        for one in peers
    }
    survey.hear({peer: Word(links=links[peer]) for peer in peers})
    plan = survey.plan(peers)
    survey.hear({0: Word(links={1: 1e-6})})
    assert survey.plan(peers) == plan
    slow = [edge for edge in plan if seconds_between(*edge) > 0.5]
    assert len(slow) < len(
        [pair for pair in combinations(peers, 2) if seconds_between(*pair) > 0.5]
    )
    assert survey.plan((0, 1, 2, 3, 4)) != plan
