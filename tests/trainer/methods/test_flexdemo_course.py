"""``scheme: Auto`` at work: probing, choosing alike, and going on as chosen."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.base import ExchangeError
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.methods.flexdemo.course import Course, unpack
from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.probe import PARTS, TOLD_BYTES, Part, Probe, heard
from haversack_trainer.methods.flexdemo.settings import Scheme, Settings
from haversack_trainer.methods.flexdemo.values import PayloadError
from haversack_trainer.methods.flexdemo.word import CHECKSUM_BYTES, Saying, Word

SEED = 17
AUTO = Settings(scheme=Scheme.AUTO, learning_rate="0.01")
PROBE_ROUNDS = len(PARTS)
SLOW, FAST = 1.0, 0.0
"""Seconds that an exchange takes beside a step of one."""


class Peer:
    """A method with its model at hand."""

    def __init__(self, peer: int) -> None:
        self.model = ToyModel()
        self.method = FlexDeMo(AUTO, peer, SEED, self.model, ToyBatches(peer))

    @property
    def course(self) -> Course:
        return self.method._course

    def copy(self, peer: int) -> Peer:
        """Another process that loads what this one has saved."""
        other = Peer(peer)
        other.model.load_trainable_state(self.model.trainable_state())
        other.method.load_state_dict(copy.deepcopy(self.method.state_dict()))
        return other


def train(
    network: ToyNetwork, peers: dict[int, Peer], rounds: Iterable[int], line: float
) -> list[str]:
    """What was remarked on the way. Every step takes a second, every exchange ``line``."""
    remarks = []
    for number in rounds:
        remarks += [peer.method.local_step(number).remark for peer in peers.values()]
        closed = network.close(number, {me: peer.method.outgoing() for me, peer in peers.items()})
        for me, peer in peers.items():
            peer.method.ahead(number + 1)
            peer.method._step_seconds = 1.0
            swap = replace(network.swap(closed, me), exchange_seconds=lambda: line)
            peer.method.incoming(swap)
    return [remark for remark in remarks if remark]


def digests(peers: dict[int, Peer]) -> set[str]:
    return {peer.model.digest() for peer in peers.values()}


def sayings(closed: ClosedRound) -> set[Saying]:
    words = [Word.parse(payload.body) for payload in closed.payloads]
    return {word.saying for word in words if word}


@pytest.mark.parametrize(("line", "scheme"), [(SLOW, Scheme.DILOCO), (FAST, Scheme.DEMO)])
def test_all_choose_alike_from_what_they_measured(line: float, scheme: Scheme) -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(3)}
    assert train(network, peers, range(PROBE_ROUNDS), line) == []
    assert {peer.course.options.scheme for peer in peers.values()} == {scheme}
    assert len({peer.course.options for peer in peers.values()}) == 1
    remarks = train(network, peers, range(PROBE_ROUNDS, PROBE_ROUNDS + 4), line)
    assert len(remarks) == 3
    assert all(f"scheme Auto chose {scheme}" in remark for remark in remarks)


def test_a_small_round_of_the_probe_sends_nothing_and_loses_nothing() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(2)}
    train(network, peers, range(1), FAST)
    before = digests(peers)
    train(network, peers, range(1, 2), FAST)
    assert PARTS[1] is Part.SMALL
    assert sayings(network.history[-1]) == {Saying.HELD}
    assert digests(peers) == before
    train(network, peers, range(2, 3), FAST)
    assert digests(peers) != before


def test_over_a_thin_line_a_round_is_still_one_step_and_most_are_silent() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(2)}
    train(network, peers, range(PROBE_ROUNDS), SLOW)
    every = peers[0].course.every
    assert every == 20
    train(network, peers, range(PROBE_ROUNDS, 3 * every), SLOW)
    for closed in network.history[PROBE_ROUNDS:]:
        is_last = (closed.round + 1) % every == 0
        assert sayings(closed) == {Saying.CONTRIBUTION if is_last else Saying.HELD}
    assert len(digests(peers)) == 1
    batches = ToyBatches(peer=50)
    held_out = [batch for step in range(20) for batch in batches.micro_batches(step)]
    before, after = (sum(m.figure(b) for b in held_out) for m in (ToyModel(), peers[0].model))
    assert after < before


@pytest.mark.parametrize("joins_at", [2, PROBE_ROUNDS - 2, PROBE_ROUNDS - 1, PROBE_ROUNDS + 2])
@pytest.mark.parametrize("line", [SLOW, FAST])
def test_a_newcomer_learns_the_course_with_the_state(joins_at: int, line: float) -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in (1, 2)}
    train(network, peers, range(joins_at), line)
    peers[0] = Peer(0)

    def gone(closed: ClosedRound, peer: int) -> bytes:
        raise ExchangeError("the hub has kept only the newest")

    peers[0].method.catch_up(network.history, gone)
    train(network, peers, range(joins_at, PROBE_ROUNDS + 5), line)
    assert len({peer.course.options for peer in peers.values()}) == 1
    assert {peer.course.part(PROBE_ROUNDS + 5) for peer in peers.values()} == {None}
    last = peers[0].course.every
    train(network, peers, range(PROBE_ROUNDS + 5, max(last, PROBE_ROUNDS + 8)), line)
    assert len(digests(peers)) == 1


@pytest.mark.parametrize("stops_at", [2, PROBE_ROUNDS - 1, PROBE_ROUNDS + 2])
def test_a_resumed_run_keeps_its_course(stops_at: int) -> None:
    straight, network = {n: Peer(n) for n in range(2)}, ToyNetwork()
    train(network, straight, range(stops_at), SLOW)
    resumed = {n: peer.copy(n) for n, peer in straight.items()}
    for peers in (straight, resumed):
        train(ToyNetwork(), peers, range(stops_at, PROBE_ROUNDS + 3), SLOW)
    assert digests(resumed) == digests(straight)
    assert resumed[0].course.options == straight[0].course.options


def test_whoever_replays_the_probe_chooses_as_the_others_did() -> None:
    network, peers = ToyNetwork(), {n: Peer(n) for n in range(2)}
    train(network, peers, range(PROBE_ROUNDS), FAST)
    late = Peer(5)
    late.method.catch_up(network.history, network.fetch)
    assert late.course.options == peers[0].course.options
    assert late.model.digest() == peers[0].model.digest()
    early = peers[0].copy(5)
    train(network, peers, range(PROBE_ROUNDS, PROBE_ROUNDS + 1), FAST)
    early.method.catch_up(network.history[-1:], network.fetch)
    assert early.course.options == peers[0].course.options


def test_a_probe_that_nobody_could_tell_of_is_made_again() -> None:
    course = Course.of(AUTO, SEED)
    nonsense = b"\xff" * TOLD_BYTES
    again, remark = course.decided(PROBE_ROUNDS - 1, [nonsense], lambda _: 100)
    assert remark == ""
    assert again.probe == Probe(PROBE_ROUNDS)
    assert [again.part(PROBE_ROUNDS + n) for n in range(PROBE_ROUNDS)] == list(PARTS)


@given(
    saying=st.sampled_from(Saying),
    checksum=st.none() | st.binary(min_size=CHECKSUM_BYTES, max_size=CHECKSUM_BYTES),
    told=st.none() | st.binary(min_size=TOLD_BYTES, max_size=TOLD_BYTES),
    digest=st.binary(max_size=32),
)
def test_a_word_is_read_as_it_was_written(
    saying: Saying, checksum: bytes | None, told: bytes | None, digest: bytes
) -> None:
    word = Word(saying, checksum, told)
    assert Word.parse(word.encode() + digest) == word


@given(st.binary(min_size=TOLD_BYTES, max_size=TOLD_BYTES))
def test_whatever_a_peer_tells_is_sense_or_left_out(told: bytes) -> None:
    measured = heard(told, 100)
    assert measured is None or min(measured.step_seconds, measured.bulk_seconds) >= 0


@given(st.binary(max_size=64))
def test_junk_is_no_state(data: bytes) -> None:
    try:
        course, _ = unpack(data)
        Course.of(AUTO, SEED).restored(course)
    except PayloadError:
        return
    assert {"probe", "changes"} <= set(course)


def test_a_course_comes_back_as_it_was_given() -> None:
    measured: Any = Probe(3, [1.0], [0.1], [0.2]).told()
    course, _ = Course.of(AUTO, SEED).decided(5, [measured], lambda o: 1000)
    packed, state = unpack(course.pack(b"weights"))
    assert state == b"weights"
    assert Course.of(AUTO, SEED).restored(packed) == course
