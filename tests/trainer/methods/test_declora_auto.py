"""``mixer: Auto``: all decide alike, from the log."""

from __future__ import annotations

from typing import Any

import pytest
from declora_peers import Peer, train
from toys import ToyNetwork

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.methods.declora.auto import choose, has_moved, moved_before
from haversack_trainer.methods.declora.kinds import MixerKind
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.word import Word, words

AUTO = Settings(mixer=MixerKind.AUTO, bias_percent=20)


def said(*biases: float, moved: int = 0) -> dict[int, Word]:
    return {peer: Word(1, bias, peer < moved) for peer, bias in enumerate(biases)}


@pytest.mark.parametrize(
    ("found", "moves"),
    [
        (said(0.1, 0.1, 0.1), False),
        (said(0.3, 0.3, 0.1), True),
        (said(0.1, 0.1, 9e9), False),
        (said(0.0, 0.0, 0.0, moved=2), True),
        (said(0.0, 0.0, 0.0, moved=1), False),
        ({}, False),
    ],
)
def test_the_median_peer_or_those_who_have_moved_decide(
    found: dict[int, Word], moves: bool
) -> None:
    assert has_moved(AUTO, found) is moves
    assert not has_moved(Settings(), found)


def test_the_mixer_depends_on_how_the_graph_mixes_and_on_the_codec() -> None:
    assert choose(AUTO, 0.95, moved=False) is MixerKind.FACTOR
    assert choose(AUTO, 0.95, moved=True) is MixerKind.ADF
    assert choose(AUTO, 0.30, moved=True) is MixerKind.DECAF
    chained = AUTO.model_copy(update={"codec": "Int8"})
    assert choose(chained, 0.30, moved=True) is MixerKind.ADF
    assert choose(Settings(mixer=MixerKind.FEDROT), 0.3, moved=True) is MixerKind.FEDROT


def test_a_word_comes_back_and_nonsense_says_nothing() -> None:
    digest = b"\xff" * 32
    word = Word(123_456, 0.5, True, {3: 0.25, 200: 4.0}, ((0, 3), (3, 200)))  # has moved
    bodies = (word.encode() + digest, word.encode()[:-1] + digest, digest, b"")
    payloads = tuple(Payload(peer, body) for peer, body in enumerate(bodies))
    found = words(ClosedRound(0, (0, 1, 2, 3), payloads, 9))
    assert found == {0: word, 1: Word(), 2: Word()}
    assert Word(2**40, float("1e300")).encode() != Word().encode()
    not_finite = Word(1, float("nan")).encode() + digest
    assert words(ClosedRound(0, (0,), (Payload(0, not_finite),), 1)) == {0: Word()}


def test_over_the_limit_all_change_at_once_and_say_so() -> None:
    network = ToyNetwork()
    options: dict[str, Any] = {"mixer": MixerKind.AUTO, "bias_percent": 1, "rate": "0.1"}
    peers = {n: Peer(n, **options) for n in range(8)}
    told = []
    for number in range(5):
        for peer in peers.values():
            peer.method.local_step(number)
        closed = network.close(number, {n: p.method.outgoing() for n, p in peers.items()})
        told.append([p.method.incoming(network.swap(closed, n)) for n, p in peers.items()])
    in_force = [
        {next(k for k in metrics if k.startswith("mixer_")) for metrics in row} for row in told
    ]
    assert in_force[0] == {"mixer_factor"}
    assert in_force[1:] == [{"mixer_adf"}] * 4
    assert moved_before(words(network.history[-1]))
    late = Peer(9, **options)
    late.method.catch_up(network.history, network.fetch)
    assert late.method._standing.moved


def test_under_the_limit_it_is_factor_mixing_to_the_bit() -> None:
    plain, auto = (
        {n: Peer(n, mixer=m) for n in range(3)} for m in (MixerKind.FACTOR, MixerKind.AUTO)
    )
    for peers in (plain, auto):
        train(ToyNetwork(), peers, range(4))
    assert [p.model.digest() for p in plain.values()] == [p.model.digest() for p in auto.values()]
