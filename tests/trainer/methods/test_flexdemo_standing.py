"""Membership without a protocol: whoever comes, goes or differs, all are in sync two rounds after the last change."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.methods.flexdemo.standing import Standing, standing
from haversack_trainer.methods.flexdemo.word import CHECKSUM_BYTES, Saying, Word

A, B = bytes(CHECKSUM_BYTES), bytes([1] * CHECKSUM_BYTES)


def after(**words: Word) -> Standing:
    """Of the round in which peers p0, p1, … said this."""
    payloads = tuple(
        Payload(int(name[1:]), word.encode() + bytes(32)) for name, word in words.items()
    )
    return standing(ClosedRound(0, tuple(p.peer for p in payloads), payloads, 1))


CONTRIBUTION, HUNGRY, STATE = Word(Saying.CONTRIBUTION), Word(Saying.HUNGRY), Word(Saying.STATE)
NONFINITE = Word(Saying.NONFINITE)


def test_all_contribute() -> None:
    found = after(p0=CONTRIBUTION, p3=CONTRIBUTION)
    assert found == Standing((0, 3), None, None, (0, 3), ())
    assert found.giver is None


def test_a_hungry_peer_is_given_to_by_the_lowest_that_is_in_sync() -> None:
    found = after(p0=HUNGRY, p1=NONFINITE, p2=CONTRIBUTION)
    assert found == Standing((2,), None, None, (1, 2), (0,))
    assert found.giver == 1


def test_whoever_is_hungry_takes_the_state_that_was_given() -> None:
    found = after(p0=HUNGRY, p1=STATE, p2=CONTRIBUTION)
    assert found == Standing((2,), 1, None, (1, 2), ())


def test_where_all_are_hungry_the_lowest_begins() -> None:
    found = after(p1=HUNGRY, p2=HUNGRY)
    assert found == Standing((), None, 1, (1,), (2,))
    assert found.giver == 1


def test_whose_weights_differ_from_the_lowest_ones_is_out_of_step() -> None:
    right, wrong = Word(Saying.CONTRIBUTION, A), Word(Saying.CONTRIBUTION, B)
    found = after(p0=HUNGRY, p1=right, p2=wrong, p3=right)
    assert found.strays == (0, 2)
    assert found.sound == (1, 3)
    assert found.contributors == (1, 2, 3), "its gradient is as good as any"
    assert after(p0=right, p1=Word(Saying.STATE, B), p2=HUNGRY).source is None, "a wrong state"


def test_a_body_that_cannot_be_read_is_no_contribution() -> None:
    closed = ClosedRound(
        0, (0, 1), (Payload(0, b""), Payload(1, CONTRIBUTION.encode() + bytes(32))), 1
    )
    assert standing(closed).contributors == (1,)
    assert Word.parse(b"\x55") is None
    assert Word.parse(bytes([0x80, 1, 2])) is None


@given(st.sampled_from(Saying), st.none() | st.binary(min_size=8, max_size=8), st.binary())
def test_words_come_back(saying: Saying, checksum: bytes | None, tail: bytes) -> None:
    assert Word.parse(Word(saying, checksum).encode() + tail) == Word(saying, checksum)


@dataclass
class Model:
    """A peer as the rules see it: a number stands for its weights."""

    state: int | None = None
    """None while hungry."""
    own: int = 0
    """What it would begin with if all were hungry."""
    is_giver: bool = False


@dataclass
class World:
    peers: dict[int, Model] = field(default_factory=dict)
    round: int = 0

    def play(self) -> None:
        """One round of everybody: the new state is a function of the old one and the contributors."""
        words = {n: self._word(self.peers[n]) for n in sorted(self.peers)}
        payloads = tuple(Payload(n, word.encode() + bytes(32)) for n, word in words.items())
        found = standing(ClosedRound(self.round, tuple(words), payloads, 1))
        before = {n: peer.state for n, peer in self.peers.items()}
        for n, peer in self.peers.items():
            if n == found.founder:
                peer.state = peer.own
            elif n in found.strays:
                peer.state = None
            else:
                base = (
                    before[found.source]
                    if before[n] is None and found.source is not None
                    else before[n]
                )
                assert base is not None
                peer.state = hash((base, found.contributors, self.round))
            peer.is_giver = found.giver == n
        self.round += 1

    def _word(self, peer: Model) -> Word:
        if peer.state is None:
            return HUNGRY
        checksum = peer.state.to_bytes(8, "little", signed=True) if self.round % 2 else None
        return Word(Saying.STATE if peer.is_giver else Saying.CONTRIBUTION, checksum)


EVENTS = st.lists(st.tuples(st.sampled_from(["join", "leave", "drift", "play"]), st.integers(0, 4)))


@given(EVENTS)
def test_any_sequence_of_changes_ends_with_all_equal(events: list[tuple[str, int]]) -> None:
    world = World({n: Model(state=7) for n in range(3)})
    for kind, n in events:
        match kind:
            case "join":
                world.peers[n] = Model(own=n)
            case "leave" if len(world.peers) > 1:
                world.peers.pop(n, None)
            case "drift" if n in world.peers and world.peers[n].state is not None:
                world.peers[n].state = 1000 + n
            case "play":
                world.play()
    if world.round % 2 == 0:
        world.play()  # to a round that compares checksums
    world.play()
    for _ in range(2):
        world.play()
    states = {peer.state for peer in world.peers.values()}
    assert len(states) == 1
    assert None not in states


def test_who_promises_a_blob_and_names_none_contributes_nothing() -> None:
    payloads = (
        Payload(0, Word(Saying.STATE).encode()),
        Payload(1, CONTRIBUTION.encode()),
        Payload(2, CONTRIBUTION.encode() + bytes(32)),
    )
    found = standing(ClosedRound(0, (0, 1, 2), payloads, 1))
    assert found == Standing((2,), None, None, (0, 1, 2), ())
