"""Words in the log, averages by layer, cohorts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.exchange.codec import HEADER_BYTES, Layout
from haversack_trainer.methods.droppeft.federation import (
    Contribution,
    Parts,
    Tensors,
    aggregate,
    cohort,
    weight,
)
from haversack_trainer.methods.droppeft.settings import Weighting
from haversack_trainer.methods.droppeft.word import Word, WordError, num_bytes

PARTS = Parts({"0.a": 0, "1.a": 1, "2.a": 2, "head": None}, 3, head_travels=True)
ALL = (True, True, True)


def state(value: float) -> Tensors:
    return {name: np.full(2, value, np.float32) for name in PARTS.layer_of}


def brought(
    value: float,
    active: tuple[int, ...] = (4, 4, 4),
    shared: tuple[bool, ...] = ALL,
    samples: int = 8,
) -> Contribution:
    word = Word(4, samples, active, shared)
    return Contribution(word, {name: state(value)[name] for name in PARTS.sent(word)})


@st.composite
def words(draw: st.DrawFn) -> Word:
    steps, layers = draw(st.integers(1, 10_000)), draw(st.integers(1, 40))
    active = draw(st.lists(st.integers(0, steps), min_size=layers, max_size=layers))
    shared = draw(st.lists(st.booleans(), min_size=layers, max_size=layers))
    return Word(steps, draw(st.integers(1, 2**32 - 1)), tuple(active), tuple(shared))


@given(words())
def test_a_word_is_read_as_it_was_written(word: Word) -> None:
    data = word.encode()
    assert (
        len(data)
        == num_bytes(len(word.active))
        == 8 + 2 * len(word.active) + -(-len(word.active) // 8)
    )
    assert Word.decode(data, len(word.active)) == word


@given(st.binary(max_size=40))
def test_other_bytes_are_a_word_or_refused(data: bytes) -> None:
    try:
        word = Word.decode(data, 3)
    except WordError:
        return
    assert max(word.active) <= word.steps


def test_a_word_of_another_model_is_refused() -> None:
    with pytest.raises(WordError, match="bytes for 4 layers"):
        Word.decode(brought(1).word.encode(), 4)
    with pytest.raises(WordError, match="more steps than there were"):
        Word(2, 1, (3,), (True,))
    with pytest.raises(WordError, match="needs steps"):
        Word(0, 1, (0,), (True,))


def test_with_all_layers_active_it_is_federated_averaging_by_samples() -> None:
    mixed = aggregate(
        state(9), {0: brought(1, samples=8), 1: brought(4, samples=16)}, PARTS, Weighting.STEPS
    )
    for values in mixed.values():
        assert values == pytest.approx(3)


def test_a_layers_weight_is_the_share_of_steps_in_which_it_ran() -> None:
    both = {0: brought(0, (4, 1, 0)), 1: brought(1, (4, 3, 2))}
    by_steps = aggregate(state(9), both, PARTS, Weighting.STEPS)
    assert [by_steps[name][0] for name in ("0.a", "1.a", "2.a", "head")] == [0.5, 0.75, 1, 0.5]
    by_samples = aggregate(state(9), both, PARTS, Weighting.SAMPLES)
    assert [by_samples[name][0] for name in ("0.a", "1.a", "2.a", "head")] == [0.5, 0.5, 1, 0.5]


def test_what_nobody_sent_stays() -> None:
    mixed = aggregate(
        state(9),
        {0: brought(1, (4, 4, 0)), 1: brought(1, shared=(True, False, False))},
        PARTS,
        Weighting.STEPS,
    )
    assert [mixed[name][0] for name in ("0.a", "1.a", "2.a")] == [1, 1, 9]
    assert aggregate(state(9), {}, PARTS, Weighting.STEPS).keys() == PARTS.layer_of.keys()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 100)), min_size=1, max_size=6),
    st.sampled_from(Weighting),
)
def test_the_same_from_everybody_is_left_alone(
    peers: list[tuple[int, int]], how: Weighting
) -> None:
    """Weights add up to one."""
    each = {n: brought(0.5, (count, 4, 4), samples=size) for n, (count, size) in enumerate(peers)}
    mixed = aggregate(state(0.5), each, PARTS, how)
    assert all(values == pytest.approx(0.5) for values in mixed.values())


def test_the_head_weighs_by_samples() -> None:
    word = brought(1, (1, 2, 4)).word
    assert [weight(word, layer, Weighting.STEPS) for layer in (0, 1, 2, None)] == [2, 4, 8, 8]


def test_bytes_sent_are_those_of_the_active_shared_layers_and_the_head() -> None:
    for active, shared, layers in (
        ((4, 4, 4), ALL, 3),
        ((4, 0, 4), ALL, 2),
        ((4, 4, 4), (False,) * 3, 0),
    ):
        each = brought(1, active, shared)
        blob = Layout.of(each.state).encode(each.state)
        assert len(blob) == HEADER_BYTES + 4 * (2 * layers + 2)


@given(
    st.integers(0, 2**31), st.sets(st.integers(0, 200), min_size=1, max_size=20), st.integers(1, 25)
)
def test_a_cohort_is_drawn_from_the_peers_alike_for_all(
    seed: int, peers: set[int], size: int
) -> None:
    chosen = cohort(seed, 3, sorted(peers), size)
    assert chosen <= peers
    assert len(chosen) == min(size, len(peers))
    assert chosen == cohort(seed, 3, sorted(peers, reverse=True), size)
    assert cohort(seed, 3, sorted(peers), None) == peers


def test_over_many_rounds_every_peer_is_drawn_as_often() -> None:
    drawn = [peer for number in range(1000) for peer in cohort(17, number, range(5), 2)]
    assert [drawn.count(peer) for peer in range(5)] == pytest.approx([400] * 5, rel=0.1)
