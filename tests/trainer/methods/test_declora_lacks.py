"""A state that one neighbour alone could not read: both ends of the edge come to the same, and the mean stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pytest
import torch
from adapter_states import HEAD, State, states
from declora_peers import Peer, train
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from toys import ToyNetwork

from haversack_trainer.exchange.base import Gone, Outgoing, Swap
from haversack_trainer.exchange.codec import Layout
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.topology import topology
from haversack_trainer.methods.declora import lacks
from haversack_trainer.methods.declora.choco import Quantised
from haversack_trainer.methods.declora.intake import Came, InTime
from haversack_trainer.methods.declora.kinds import Codec, MixerKind
from haversack_trainer.methods.declora.mixers import mixer_of
from haversack_trainer.methods.declora.wire import Whole, Wire
from haversack_trainer.methods.declora.word import Word, words

COUNT: Final = 5
SEED: Final = 3
Way = tuple[int, int]
"""Who lacks, and whose."""


def quantised(bits: int, *, chained: bool) -> Callable[[Layout, int], Wire]:
    return lambda layout, peer: Quantised(layout, bits, peer, SEED, chained=chained)


WIRES: Final[Mapping[str, Callable[[Layout, int], Wire]]] = {
    "Float32": lambda layout, _: Whole(layout),
    "Int8": quantised(8, chained=True),
    "Int4": quantised(4, chained=True),
    "Int8 difference": quantised(8, chained=False),
}


@dataclass
class Gossip:
    """Peers that mix and do nothing else; any of them may fail to read any other's state."""

    codec: str
    all_: dict[int, State] = field(default_factory=lambda: states(1, COUNT))
    network: ToyNetwork = field(default_factory=ToyNetwork)
    wires: dict[int, Any] = field(default_factory=dict)
    intakes: dict[int, InTime] = field(default_factory=dict)
    round: int = 0

    def __post_init__(self) -> None:
        for peer, state in self.all_.items():
            self.wires[peer] = WIRES[self.codec](Layout.of(state), peer)
            self.intakes[peer] = InTime(self.wires[peer], peer, None, 1.0)

    def step(
        self, lost: Collection[Way] = (), absent: Collection[int] = (), on: str = "Ring"
    ) -> None:
        here = [peer for peer in self.all_ if peer not in absent]
        packed = {peer: self.wires[peer].pack(self.all_[peer], self.round) for peer in here}
        said = {peer: self.intakes[peer].say(Word()).encode() for peer in here}
        closed = self.network.close(
            self.round,
            {peer: Outgoing(said[peer], one.num_before, one.blob) for peer, one in packed.items()},
        )
        graph = topology(on, tuple(here), seed=SEED) if here else None
        for me in self.all_:
            place = graph if me in here else None
            came = Came(closed, words(closed), place, self.all_[me], MIXER, self.reader(me, lost))
            self.all_[me] = self.all_[me] | self.intakes[me].take_in(came).mixed
        self.round += 1

    def reader(self, me: int, lost: Collection[Way]) -> Callable[[ClosedRound, int], bytes]:
        def fetch(closed: ClosedRound, peer: int) -> bytes:
            if (me, peer) in lost:
                raise Gone("lost")
            return self.network.fetch(closed, peer)

        return fetch

    def mean(self) -> NDArray[np.float64]:
        flat = [np.concatenate([v.reshape(-1) for v in s.values()]) for s in self.all_.values()]
        return np.asarray(np.mean(np.array(flat, np.float64), axis=0))

    def kinds(self) -> list[int]:
        return [payload.aux for payload in self.network.history[-1].payloads]

    def one_sided(self) -> set[Way]:
        """Who has no copy of whom that has one of it."""
        known = {peer: wire._copies.keys() for peer, wire in self.wires.items()}
        return {(i, j) for i in known for j in known if i in known[j] and j not in known[i]}


MIXER: Final = mixer_of(MixerKind.FACTOR)
ways = st.frozensets(
    st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)).filter(lambda w: w[0] != w[1]),
    max_size=6,
)
rounds = st.lists(
    st.tuples(
        ways,
        st.frozensets(st.integers(0, COUNT - 1), max_size=2),
        st.sampled_from(["Ring", "Complete"]),
    ),
    max_size=lacks.MAX_ROUNDS - 1,
)


@pytest.mark.parametrize("codec", WIRES)
@settings(max_examples=20)
@given(story=rounds)
def test_whatever_is_lacked_the_mean_comes_back(codec: str, story: list[Any]) -> None:
    """Once all have been heard of again. Who is away keeps its state."""
    gossip = Gossip(codec)
    before = gossip.mean()
    for lost, absent, graph in story:
        gossip.step(lost, absent, graph)
    gossip.step()
    assert gossip.mean() == pytest.approx(before, abs=2e-5)


@pytest.mark.parametrize("codec", ["Int8", "Int4"])
@settings(max_examples=20)
@given(story=rounds)
def test_both_ends_have_the_same_copies_or_none(codec: str, story: list[Any]) -> None:
    """But for the round in which one is lacked."""
    gossip = Gossip(codec)
    for lost, absent, graph in [*story, ((), (), "Ring")]:
        gossip.step(lost, absent, graph)
        copies = {peer: wire._copies for peer, wire in gossip.wires.items()}
        assert gossip.one_sided() <= set(lost)
        for known in copies.values():
            for other, copy in known.items():
                assert all(np.array_equal(copy[name], copies[other][other][name]) for name in copy)


def test_an_edge_is_open_again_in_the_second_round_after() -> None:
    gossip = Gossip("Int4")
    for lost in ((), (), {(1, 2)}):
        gossip.step(lost)
    assert gossip.one_sided() == {(1, 2)}
    gossip.step()
    assert (gossip.kinds(), gossip.one_sided()) == ([3, 0, 3, 3, 3], set())
    assert 1 not in gossip.wires[2]._copies
    gossip.step()
    assert gossip.kinds() == [4, 0, 0, 4, 4]
    assert 1 in gossip.wires[2]._copies
    assert 2 in gossip.wires[1]._copies
    gossip.step()
    assert gossip.kinds() == [5, 1, 1, 5, 5]


def test_what_is_lacked_moves_the_mean_until_it_is_told() -> None:
    gossip = Gossip("Float32")
    before = gossip.mean()
    gossip.step({(1, 2)})
    assert np.abs(gossip.mean() - before).max() > 1e-2
    gossip.step()
    assert gossip.mean() == pytest.approx(before, abs=1e-6)


def test_what_is_too_much_to_keep_is_not_kept() -> None:
    def of(num_bytes: int) -> dict[int, State]:
        # No memory is touched: one number, seen many times.
        return {n: {HEAD: np.broadcast_to(np.float32(n), num_bytes // 4)} for n in range(3)}

    shares = dict.fromkeys(range(3), 1 / 3)
    assert lacks.halves(0, shares, of(lacks.MAX_KEPT_BYTES // 2), 0, 1.0).keys() == {1, 2}
    assert lacks.halves(0, shares, of(lacks.MAX_KEPT_BYTES // 2 + 4), 0, 1.0) == {}


@pytest.mark.parametrize("options", [{}, {"max_staleness": 2}, {"codec": Codec.INT8}])
def test_peers_that_train_go_back_by_what_they_went(options: dict[str, Any]) -> None:
    """Two runs, in one of which a state is lacked once: what that moved is gone a round later."""
    means = []
    for lacking in (False, True):
        network = ToyNetwork()
        peers = {n: Peer(n, data=0, rate="0.0000000001", **options) for n in range(4)}
        for n, peer in peers.items():
            peer.method._adopt({k: v + n for k, v in peer.method._state.items()})
        train(network, peers, range(1))
        for peer in peers.values():
            peer.method.local_step(1)
        closed = network.close(1, {n: peer.method.outgoing() for n, peer in peers.items()})
        for n, peer in peers.items():
            lost = lacking and n == 1
            peer.method.incoming(Swap(closed, n, reading(network, closed, 2 if lost else None)))
        train(network, peers, range(2, 3))
        means.append(torch.stack([peer.vector() for peer in peers.values()]).mean(0))
    assert means[1].numpy() == pytest.approx(means[0].numpy(), abs=1e-4)


def reading(network: ToyNetwork, closed: ClosedRound, lost: int | None) -> Callable[[int], bytes]:
    def fetch(peer: int) -> bytes:
        if peer == lost:
            raise Gone("lost")
        return network.fetch(closed, peer)

    return fetch
