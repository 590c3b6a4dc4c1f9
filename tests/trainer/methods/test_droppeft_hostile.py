"""DropPEFT among peers that send what cannot be right, and robust averages by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from droppeft_peers import NUM_LAYERS, Peer, digests, train
from hypothesis import given, settings
from hypothesis import strategies as st
from layered_toys import LayeredToy
from toys import ToyNetwork

from haversack_trainer.contract.robust import Robust, Rule
from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.codec import HEADER_BYTES, Layout
from haversack_trainer.methods.droppeft.federation import (
    Contribution,
    Parts,
    Tensors,
    aggregate,
    renewed,
)
from haversack_trainer.methods.droppeft.settings import Settings, Weighting
from haversack_trainer.methods.droppeft.word import Word

LAYOUT = Layout.of({name: t.numpy() for name, t in LayeredToy().trainable_state().items()})
WORD = Word(3, 18, (3,) * NUM_LAYERS, (True,) * NUM_LAYERS).encode()


def filled(value: float) -> Outgoing:
    """All layers, all of whose numbers are ``value``."""
    state = {n: np.full(shape, value, np.float32) for n, shape in LAYOUT.entries}
    return Outgoing(WORD, blob=LAYOUT.encode(state))


HOSTILE: dict[str, Callable[[Outgoing], Outgoing]] = {
    "NaN": lambda _: filled(float("nan")),
    "an infinity": lambda _: filled(float("-inf")),
    "a huge norm": lambda _: filled(1e6),
    "a norm that overflows": lambda _: filled(3e38),
    "half of it": lambda out: replace(out, blob=(out.blob or b"")[: HEADER_BYTES + 8]),
    "another shape": lambda out: replace(
        out, blob=Layout((("head.weight", (3, 7)),)).encode({"head.weight": np.zeros((3, 7), np.float32)})
    ),
    "no word": lambda out: replace(out, body=b"word"),
}  # fmt: skip


def round_with(
    network: ToyNetwork, peers: dict[int, Peer], number: int, hostile: dict[int, Outgoing]
) -> dict[int, dict[str, float]]:
    for peer in peers.values():
        peer.method.local_step(number)
    closed = network.close(number, {n: p.method.outgoing() for n, p in peers.items()} | hostile)
    return {n: p.method.incoming(network.swap(closed, n)) for n, p in peers.items()}


def test_who_comes_late_judges_a_past_round_as_its_members_did() -> None:
    network, peers = ToyNetwork(), {n: Peer(n, drop_rate="0") for n in range(2)}
    # The first is let pass, and makes the shared state larger; beside that alone the second would pass, too.
    for number, value in enumerate((8.0, 30.0)):
        round_with(network, peers, number, {2: filled(value)})
    late = Peer(4, drop_rate="0")
    late.method.catch_up(network.history, network.fetch)
    assert len(digests(peers | {4: late})) == 1


@pytest.mark.parametrize("twist", HOSTILE.values(), ids=list(HOSTILE))
def test_a_peer_that_sends_what_cannot_be_right_is_refused_and_counted(
    twist: Callable[[Outgoing], Outgoing],
) -> None:
    """All are in the state that they would be in without it."""
    liar = Peer(2)
    liar.method.local_step(0)
    among = {n: Peer(n) for n in range(2)}
    told = round_with(ToyNetwork(), among, 0, {2: twist(liar.method.outgoing())})
    assert all(figures["refused"] == figures["refused_peer_2"] == 1 for figures in told.values())
    alone = {n: Peer(n) for n in range(2)}
    train(ToyNetwork(), alone, range(1))
    assert digests(among) == digests(alone)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=1, max_size=60))
def test_whatever_bytes_come_the_peers_go_on_alike(blob: bytes, body: bytes) -> None:
    peers = {n: Peer(n) for n in range(2)}
    told = round_with(ToyNetwork(), peers, 0, {2: Outgoing(body, blob=blob)})
    assert told[0]["refused"] == told[1]["refused"] == 1
    assert len(digests(peers)) == 1


@pytest.mark.parametrize("rule", Rule)
def test_a_robust_average_withstands_a_liar_and_is_the_same_everywhere(rule: Rule) -> None:
    def after(robust: Robust | None, hostile: dict[int, Outgoing]) -> torch.Tensor:
        network, peers = ToyNetwork(), {n: Peer(n, robust=robust, drop_rate="0") for n in range(5)}
        for number in range(2):
            round_with(network, peers, number, hostile)
        assert len(digests(peers)) == 1
        return peers[0].head()

    robust, liar = Robust(rule=rule, num_faulty=1), {5: filled(4.0)}
    truth = after(None, {})
    assert float((after(robust, liar) - truth).norm()) < 0.2
    assert float((after(None, liar) - truth).norm()) > 1


def test_who_is_refused_is_no_more_among_those_that_a_robust_average_must_withstand() -> None:
    """Three peers are enough for one that is wrong: it cannot hold the two others up by sending rubbish."""
    network, two = ToyNetwork(), {n: Peer(n, robust=Robust(), drop_rate="0") for n in range(2)}
    before = two[0].head()
    round_with(network, two, 0, {2: filled(float("nan"))})
    assert len(digests(two)) == 1
    assert float((two[0].head() - before).norm()) > 0.01
    late = Peer(4, robust=Robust(), drop_rate="0")
    late.method.catch_up(network.history, network.fetch)
    assert digests({**two, 4: late}) == {two[0].model.digest()}


PARTS = Parts({"0.a": 0, "0.b": 0, "1.a": 1, "head": None}, 2, head_travels=True)


def brought(value: float, active: tuple[int, int] = (1, 1)) -> Contribution:
    word = Word(1, 1, active, (True, True))
    return Contribution(word, {n: np.full(2, value, np.float32) for n in PARTS.sent(word)})


def test_a_layer_that_too_few_sent_stays_as_it_is() -> None:
    before: Tensors = {name: np.full(2, 9, np.float32) for name in PARTS.layer_of}
    given_ = {0: brought(1), 1: brought(2, (1, 0)), 2: brought(30)}
    mixed = aggregate(before, given_, PARTS, Weighting.STEPS, Robust())
    assert [mixed[name][0] for name in ("0.a", "0.b", "1.a", "head")] == [2, 2, 9, 2]
    assert renewed(given_, PARTS, Robust()) == {"0.a", "0.b", "head"}
    assert renewed(given_, PARTS, None) == PARTS.layer_of.keys()


def test_a_newcomer_reads_as_far_back_as_a_layer_was_averaged_not_only_sent() -> None:
    network = ToyNetwork()
    peers = {n: Peer(n, robust=Robust(), drop_rate="0") for n in range(3)}
    train(network, peers, range(2))
    fewer = {n: peers[n] for n in range(2)}
    for peer in fewer.values():
        peer.method.local_step(2)
    closed = network.close(2, {n: peer.method.outgoing() for n, peer in fewer.items()})
    for n, peer in fewer.items():
        peer.method.incoming(network.swap(closed, n))
    late = Peer(4, robust=Robust(), drop_rate="0")
    late.method.catch_up(network.history, network.fetch)
    assert digests({**fewer, 4: late}) == {peers[0].model.digest()}


@pytest.mark.parametrize(
    ("chosen", "min_peers", "says"),
    [
        (Settings(robust=Robust()), 3, None),
        (Settings(robust=Robust()), 2, "minPeers leaves only 2; write 0 or less"),
        (Settings(robust=Robust(rule=Rule.KRUM), cohort_size=4), 9, "cohortSize leaves only 4"),
        (Settings(robust=Robust(rule=Rule.KRUM), cohort_size=9), 4, "minPeers leaves only 4"),
        (Settings(cohort_size=1), 1, None),
    ],
)
def test_a_rule_for_more_than_there_may_be_is_refused(
    chosen: Settings, min_peers: int, says: str | None
) -> None:
    told = chosen.fault_of_few(min_peers)
    assert (told is None) == (says is None)
    assert says is None or says in (told or "")
