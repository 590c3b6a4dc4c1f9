"""States in few bits over a network that changes: all go by the same copies, and the mean stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest
from adapter_states import A, B, State, states
from toys import ToyNetwork

from haversack_trainer.exchange.base import ExchangeError, Outgoing
from haversack_trainer.exchange.codec import Layout
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.topology import Topology, topology
from haversack_trainer.methods.declora.choco import MAX_CHAIN, Quantised
from haversack_trainer.methods.declora.mixers.base import averaged
from haversack_trainer.methods.declora.mixing import open_shares, towards

SEED = 5


@dataclass
class Gossip:
    """Peers that mix and do nothing else."""

    all_: dict[int, State]
    bits: int = 8
    chained: bool = True
    network: ToyNetwork = field(default_factory=ToyNetwork)
    wires: dict[int, Quantised] = field(default_factory=dict)
    shut: dict[int, frozenset[int]] = field(default_factory=dict)
    round: int = 0

    def wire(self, peer: int) -> Quantised:
        if peer not in self.wires:
            layout = Layout.of(self.all_[peer])
            self.wires[peer] = Quantised(layout, self.bits, peer, SEED, chained=self.chained)
        return self.wires[peer]

    def run(self, peers: Iterable[int], rounds: int = 1, graph: str = "Ring") -> None:
        for _ in range(rounds):
            self.step(topology(graph, tuple(peers), seed=3))

    def step(self, graph: Topology) -> None:
        packed = {p: self.wire(p).pack(self.all_[p], self.round) for p in graph.peers}
        closed = self.network.close(
            self.round, {p: Outgoing(b"w", one.num_before, one.blob) for p, one in packed.items()}
        )
        for me in graph.peers:
            wire = self.wire(me)
            taken = wire.take(closed, me, self.network.fetch, graph.neighbours(me))
            self.shut[me] = taken.shut
            mixed = averaged(open_shares(graph, me, taken.shut), taken.states)
            assert wire.gain is not None
            self.all_[me] = towards(self.all_[me], taken.states[me], mixed, wire.gain)
        self.round += 1

    @property
    def last(self) -> ClosedRound:
        return self.network.history[-1]

    def kinds(self) -> list[int]:
        return [payload.aux for payload in self.last.payloads]


def mean(all_: dict[int, State], name: str = B) -> np.ndarray:
    return np.asarray(np.mean([state[name].astype("f8") for state in all_.values()], axis=0))


def distance(all_: dict[int, State]) -> float:
    return float(sum(np.square(s[B] - mean(all_)).sum() for s in all_.values()))


@pytest.mark.parametrize(
    ("bits", "chained", "floor"),
    [(8, True, 1e-7), (4, True, 1e-7), (8, False, 1e-4), (4, False, 5e-2)],
)
def test_the_mean_stays_and_the_peers_come_together(bits: int, chained: bool, floor: float) -> None:
    gossip = Gossip(states(1, 10), bits, chained)
    before, start = mean(gossip.all_), distance(gossip.all_)
    gossip.run(range(10), 150)
    assert mean(gossip.all_) == pytest.approx(before, abs=2e-5)
    assert distance(gossip.all_) < floor * start


def test_averaging_what_was_sent_as_if_it_were_the_state_moves_the_mean() -> None:
    """Why nobody does it."""
    all_ = states(1, 10)
    before = mean(all_)
    gossip, ring = Gossip(all_, 4, chained=False), topology("Ring", tuple(range(10)))
    gossip.round = 1
    for _ in range(150):
        blobs = {p: gossip.wire(p).pack(s, gossip.round).blob for p, s in gossip.all_.items()}
        sent = {p: gossip.wire(p)._coarse.decode(blob) for p, blob in blobs.items()}
        gossip.all_ = {p: averaged(ring.row(p), sent) for p in gossip.all_}
        gossip.round += 1
    assert np.abs(mean(gossip.all_) - before).max() > 0.05


def test_the_first_round_goes_whole_then_changes_and_now_and_then_a_state() -> None:
    gossip = Gossip(states(2, 3), 4)
    sizes, kinds = [], []
    for _ in range(2 * MAX_CHAIN + 3):
        gossip.run(range(3))
        kinds.append(set(gossip.kinds()))
        sizes.append(len(gossip.network.blobs[gossip.round - 1, 0]))
    chain = [{number} for number in range(MAX_CHAIN + 1)]
    assert kinds == (chain * 3)[: len(kinds)]
    layout = Layout.of(gossip.all_[0])
    assert sizes[0] == layout.num_bytes
    assert sizes[1] < sizes[MAX_CHAIN + 1] < sizes[0]


def test_who_is_no_neighbour_reads_the_same_copies() -> None:
    gossip = Gossip(states(3, 5), 4)
    gossip.run(range(5), MAX_CHAIN + 4)
    gossip.all_[9] = gossip.all_[0]
    stranger = gossip.wire(9)
    for closed in gossip.network.history:
        stranger.miss(closed)
    for peer in range(5):
        read = stranger.read(gossip.last, peer, gossip.network.fetch)
        known = gossip.wire(peer)._copies[peer]
        assert all(np.array_equal(read[name], known[name]) for name in (A, B))
        near = gossip.wire((peer + 1) % 5)._copies[peer]
        assert all(np.array_equal(near[name], known[name]) for name in (A, B))


def test_what_builds_on_rounds_that_nobody_knows_cannot_be_read() -> None:
    gossip = Gossip(states(3, 3), 8)
    gossip.run(range(3), 4)
    gossip.all_[9] = gossip.all_[0]
    with pytest.raises(ExchangeError, match="builds on 3 rounds before it, of which only 0"):
        gossip.wire(9).read(gossip.last, 0, gossip.network.fetch)


def test_a_newcomer_is_shut_out_for_one_round_and_then_all_begin_anew() -> None:
    gossip = Gossip(states(4, 5))
    gossip.run(range(4), 3)
    before = mean(gossip.all_)
    gossip.run(range(5))
    assert gossip.kinds() == [3, 3, 3, 3, 0]
    assert gossip.shut[4] == {0, 3}
    assert 4 in gossip.shut[0] & gossip.shut[3]
    gossip.run(range(5))
    assert [gossip.kinds()[peer] for peer in (0, 3, 4)] == [0, 0, 0]
    gossip.run(range(5))
    assert not any(gossip.shut.values())
    assert mean(gossip.all_) == pytest.approx(before, abs=1e-5)
    gossip.run(range(5), 60)
    assert distance(gossip.all_) < 1e-4


def test_when_a_peer_drops_out_the_survivors_keep_their_mean() -> None:
    gossip = Gossip(states(5, 5))
    gossip.run(range(5), 3)
    del gossip.all_[2]
    before = mean(gossip.all_)
    gossip.run((0, 1, 3, 4), 4)
    assert mean(gossip.all_) == pytest.approx(before, abs=1e-5)
    assert not any(gossip.shut[peer] for peer in (0, 1, 3, 4))


def test_who_missed_a_round_and_who_forgot_send_a_state_again() -> None:
    gossip = Gossip(states(6, 3))
    gossip.run(range(3), 3)
    gossip.wire(0).forget()
    gossip.wire(1).miss(gossip.last)
    assert [gossip.wire(p).pack(gossip.all_[p], 3).num_before for p in range(3)] == [0, 0, 3]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_and_goes_all_ends_decide_alike(seed: int) -> None:
    """Random membership and random graphs: an edge is shut at both ends or at none, and the mean of those who
    took part is kept."""
    random = np.random.default_rng(seed)
    gossip = Gossip(states(7, 7), int(random.choice([4, 8])))
    for _ in range(40):
        count = int(random.integers(1, 8))
        here = tuple(sorted(int(p) for p in random.choice(7, count, replace=False)))
        before = mean({peer: gossip.all_[peer] for peer in here})
        graph = str(random.choice(["Ring", "Complete", "Exponential"]))
        gossip.run(here, graph=graph)
        for peer in set(range(7)) - set(here):
            gossip.wire(peer).miss(gossip.last)
        assert all(me in gossip.shut[j] for me in here for j in gossip.shut[me])
        assert mean({peer: gossip.all_[peer] for peer in here}) == pytest.approx(before, abs=1e-5)


def test_a_change_of_what_nobody_has_seen_is_refused() -> None:
    gossip = Gossip(states(8, 2))
    gossip.run(range(2), 2)
    late = Quantised(Layout.of(gossip.all_[0]), 8, 5, SEED, chained=True)
    closed = gossip.network.close(2, {5: Outgoing(b"w", 0, late.pack(gossip.all_[0], 2).blob)})
    change = gossip.wire(0).pack(gossip.all_[0], 2)
    with pytest.raises(ExchangeError, match="a state that nobody has seen"):
        late._decoded(change.blob, change.num_before, None, 0)
    with pytest.raises(ExchangeError, match="peer 5 published is unusable"):
        late.read(closed, 5, lambda *_: b"nonsense")
