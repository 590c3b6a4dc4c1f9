"""Random matchings: pairs, drawn anew each round, that bring all to their mean together."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.exchange.graphs import matching, matching_rho
from haversack_trainer.exchange.topology import weigh


def weights(n: int, seed: int, round: int) -> np.ndarray:
    return weigh(tuple(range(n)), matching(n, seed, round)).weights


@given(n=st.integers(1, 40), seed=st.integers(0, 2**31 - 1), round=st.integers(0, 10**6))
def test_everybody_has_one_partner_but_one_where_their_number_is_odd(
    n: int, seed: int, round: int
) -> None:
    found = matching(n, seed, round)
    assert (found == found.T).all()
    assert not found.diagonal().any()
    assert sorted(found.sum(axis=0))[n % 2 :] == [1] * (n - n % 2)
    assert found.sum() == n - n % 2


def test_all_draw_the_same_and_each_round_another() -> None:
    assert (matching(12, 17, 3) == matching(12, 17, 3)).all()
    drawn = {matching(12, seed, number).tobytes() for seed in (1, 2) for number in range(20)}
    assert len(drawn) == 40


@given(n=st.integers(2, 16), seed=st.integers(0, 1000))
def test_averaging_over_pairs_is_doubly_stochastic_and_a_projection(n: int, seed: int) -> None:
    q = weights(n, seed, 0)
    assert np.allclose(q.sum(axis=0), 1)
    assert (q == q.T).all()
    assert np.allclose(q @ q, q)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_rho_is_that_of_all_matchings_alike(n: int) -> None:
    every = []
    for order in permutations(range(n)):
        q = np.eye(n)
        for one, other in zip(order[::2], order[1::2], strict=False):
            q[np.ix_([one, other], [one, other])] = 0.5
        every.append(q)
    mean = np.mean(every, axis=0) - 1 / n
    assert np.abs(np.linalg.eigvalsh(mean)).max() == pytest.approx(matching_rho(n) ** 2, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 8, 9, 20])
def test_the_product_of_many_matchings_is_the_mean(n: int) -> None:
    product, disagreement = np.eye(n), []
    for number in range(60):
        product = weights(n, 17, number) @ product
        disagreement.append(np.linalg.norm(product - 1 / n) ** 2)
    assert (np.diff(disagreement) <= 1e-12).all()
    assert disagreement[-1] < 1e-9


@pytest.mark.parametrize("n", [7, 10])
def test_a_round_shrinks_the_disagreement_as_rho_says_on_average(n: int) -> None:
    x = np.random.default_rng(1).normal(size=n)
    x -= x.mean()
    left = [np.linalg.norm(weights(n, seed, 0) @ x) ** 2 for seed in range(2000)]
    assert np.mean(left) / (x @ x) == pytest.approx(matching_rho(n) ** 2, rel=0.05)
