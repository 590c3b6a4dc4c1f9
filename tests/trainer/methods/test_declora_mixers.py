"""The mixers' algebra: what each keeps exactly, and what it gives up."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_states import HEAD, A, B, State, a_state, product, states
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from haversack_trainer.methods.declora.kinds import MixerKind
from haversack_trainer.methods.declora.mixers import mixer_of
from haversack_trainer.methods.declora.mixers.alternating import phase_rounds
from haversack_trainer.methods.declora.mixers.base import Pair, pairs
from haversack_trainer.methods.declora.mixers.decaf import mean_product
from haversack_trainer.methods.declora.mixers.rotated import alignment

KINDS = [kind for kind in MixerKind if kind is not MixerKind.AUTO]
seeds = st.integers(0, 10_000)
few = settings(max_examples=25, deadline=None)


def shares_of(seed: int, count: int) -> dict[int, float]:
    drawn = np.random.default_rng(seed).dirichlet(np.ones(count))
    return {peer: float(share) for peer, share in enumerate(drawn)}


def mean_of_products(shares: dict[int, float], all_: dict[int, State]) -> NDArray[np.float64]:
    return np.asarray(sum(share * product(all_[peer]) for peer, share in shares.items()))


def turn(state: State, rotation: NDArray[np.float64]) -> State:
    """The same update in other coordinates."""
    return state | {
        A: (rotation.T @ state[A]).astype("f4"),
        B: (state[B] @ rotation).astype("f4"),
    }


def a_rotation(seed: int, rank: int = 2) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((rank, rank)))[0]


@few
@given(seeds, st.integers(1, 6))
def test_averaging_factors_misses_the_mean_product_by_the_covariance_of_disagreements(
    seed: int, num_peers: int
) -> None:
    shares, all_ = shares_of(seed, num_peers), states(seed, num_peers)
    mixed = mixer_of(MixerKind.FACTOR).combine(shares, all_, 0)
    covariance = sum(
        share * (all_[peer][B] - mixed[B].astype("f8")) @ (all_[peer][A] - mixed[A].astype("f8"))
        for peer, share in shares.items()
    )
    bias = mean_of_products(shares, all_) - product(mixed)
    np.testing.assert_allclose(bias, covariance, atol=1e-5)


@few
@given(seeds, st.integers(1, 6))
def test_with_a_common_a_the_mean_of_b_is_the_mean_of_the_products(
    seed: int, num_peers: int
) -> None:
    shares, all_ = shares_of(seed, num_peers), states(seed, num_peers)
    common = all_[0][A]
    all_ = {peer: state | {A: common} for peer, state in all_.items()}
    ffa = mixer_of(MixerKind.FFA)
    sent = {p: {n: v for n, v in state.items() if ffa.sends(n)} for p, state in all_.items()}
    mixed = ffa.combine(shares, sent, 0)
    assert mixed.keys() == {B, HEAD}
    np.testing.assert_allclose(
        product(mixed | {A: common}), mean_of_products(shares, all_), atol=1e-5
    )


@few
@given(seeds, st.integers(1, 6))
def test_decaf_loses_the_singular_values_beyond_the_rank_and_nothing_else(
    seed: int, num_peers: int
) -> None:
    shares, all_ = shares_of(seed, num_peers), states(seed, num_peers)
    mixed = mixer_of(MixerKind.DECAF).combine(shares, all_, 0)
    exact = mean_of_products(shares, all_)
    tail = np.linalg.svd(exact)[1][2:]
    assert np.linalg.norm(exact - product(mixed)) == pytest.approx(np.linalg.norm(tail), abs=1e-5)


@few
@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_decaf_is_exact_where_the_rank_holds_all_whatever_the_peers_ranks(
    seed: int, ranks: list[int]
) -> None:
    all_ = [a_state(seed + at, rank) for at, rank in enumerate(ranks)]
    shares = list(shares_of(seed, len(ranks)).values())
    a, b = mean_product(shares, [s[A] for s in all_], [s[B] for s in all_], sum(ranks))
    exact = sum(share * product(state) for share, state in zip(shares, all_, strict=True))
    np.testing.assert_allclose(b @ a, exact, atol=1e-12)
    np.testing.assert_allclose(np.square(a).sum(), np.square(b).sum(), rtol=1e-9)


@few
@given(seeds)
def test_decaf_and_fedrot_do_not_care_for_the_neighbours_coordinates(seed: int) -> None:
    shares, all_ = shares_of(seed, 3), states(seed, 3)
    turned = {p: s if p == 0 else turn(s, a_rotation(seed + p)) for p, s in all_.items()}
    for kind in (MixerKind.DECAF, MixerKind.FEDROT):
        there, here = (mixer_of(kind).combine(shares, s, 0) for s in (turned, all_))
        np.testing.assert_allclose(product(there), product(here), atol=1e-4)


@few
@given(seeds)
def test_fedrot_restores_one_update_that_all_have_in_other_coordinates(seed: int) -> None:
    one = a_state(seed)
    all_ = {0: one} | {peer: turn(one, a_rotation(seed + peer)) for peer in (1, 2, 3)}
    equal = dict.fromkeys(all_, 0.25)
    mixed = mixer_of(MixerKind.FEDROT).combine(equal, all_, 0)
    for name in one:
        np.testing.assert_allclose(mixed[name], one[name], atol=1e-5)
    rotation = alignment(all_[1], one, Pair(A, B))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(2), atol=1e-12)


def test_plain_averages_lose_an_update_that_all_have_in_other_coordinates() -> None:
    """What FedRot is for."""
    one = a_state(3)
    all_ = {0: one, 1: turn(one, -np.eye(2)), 2: turn(one, a_rotation(5))}
    mixed = mixer_of(MixerKind.FACTOR).combine(dict.fromkeys(all_, 1 / 3), all_, 0)
    assert np.linalg.norm(product(mixed)) < 0.6 * np.linalg.norm(product(one))


@pytest.mark.parametrize("kind", KINDS)
def test_at_consensus_and_alone_nothing_changes(kind: MixerKind) -> None:
    mixer, one = mixer_of(kind), a_state(1)
    sent = {name: values for name, values in one.items() if mixer.sends(name)}
    for count in (1, 3):
        mixed = mixer.combine(
            dict.fromkeys(range(count), 1 / count), dict.fromkeys(range(count), sent), 0
        )
        assert mixed.keys() == sent.keys()
        np.testing.assert_allclose(product(one | mixed), product(one), atol=1e-5)
        np.testing.assert_allclose(mixed[HEAD], one[HEAD], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_linear_mixers_are_weighted_sums(kind: MixerKind) -> None:
    mixer, shares, all_ = mixer_of(kind), shares_of(4, 3), states(4, 3)
    mixed = mixer.combine(shares, all_, 1)
    expected = sum(share * all_[peer][B].astype("f8") for peer, share in shares.items())
    assert np.allclose(mixed[B], expected, atol=1e-6) == mixer.is_linear


def test_sums_run_in_fp64_and_are_rounded_once() -> None:
    all_: dict[int, State] = {
        peer: {HEAD: np.array([value], "f4")} for peer, value in enumerate((2**24, 1, -(2**24)))
    }
    mixed = mixer_of(MixerKind.FACTOR).combine(dict.fromkeys(all_, 1.0), all_, 0)
    assert mixed[HEAD].tolist() == [1.0]


def test_adf_trains_the_factors_in_turns_and_the_head_always() -> None:
    mixer = mixer_of(MixerKind.ADF)
    trained = [[n for n in (A, B, HEAD) if mixer.trains(n, phase)] for phase in range(4)]
    assert trained == [[B, HEAD], [A, HEAD], [B, HEAD], [A, HEAD]]


def test_a_phase_lasts_as_long_as_mixing_takes() -> None:
    found = [phase_rounds(rho) for rho in (0.0, 0.5, 0.873, 0.967, 0.999, 1.0)]
    assert found == [2, 3, 6, 11, 15, 15]


def test_only_matrices_are_pairs() -> None:
    state = a_state(0)
    odd = {"c.lora_A": np.zeros((2, 3, 1, 1), "f4"), "c.lora_B": np.zeros((4, 2, 1, 1), "f4")}
    assert pairs(state | odd | {"d.lora_A": np.zeros((2, 2), "f4")}) == [Pair(A, B)]
