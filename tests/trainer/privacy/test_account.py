"""What noise is worth: against exact deltas and worst orders; budgets; rounds that are counted."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.contract.privacy import Privacy, WhenSpent
from haversack_trainer.privacy.account import Budget, Rounds, Use, epsilon, fault


def exact_delta(eps: float, uses: int, sigma: float) -> float:
    """Of the Gaussian mechanism (Balle and Wang, arXiv 1805.06530, theorem 8); composed, it is one again."""
    mu, normal = math.sqrt(uses) / sigma, NormalDist()
    above = normal.cdf(mu / 2 - eps / mu)
    return above - math.exp(eps) * normal.cdf(-mu / 2 - eps / mu)


@pytest.mark.parametrize(
    ("uses", "sigma"),
    [(1, 0.8), (10, 0.8), (1, 4.0), (10, 4.0), (400, 4.0), (1, 30.0), (400, 30.0)],
)
@pytest.mark.parametrize("delta", [1e-3, 1e-5])
def test_epsilon_holds_and_wastes_little(uses: int, sigma: float, delta: float) -> None:
    found = epsilon(uses, sigma, delta)
    assert exact_delta(found, uses, sigma) <= delta
    assert exact_delta(0.75 * found - 0.02, uses, sigma) > delta


def test_epsilon_of_a_known_case() -> None:
    """Sigma = 1, delta = 1e-5: exactly 4.377; zCDP's closed form gives 0.5 + 2·sqrt(0.5·ln 1e5) = 5.30."""
    assert 4.377 < epsilon(1, 1.0, 1e-5) < 4.80


def test_epsilon_adds_up_as_variances_do_and_no_use_is_free() -> None:
    assert epsilon(0, 1.0, 1e-5) == 0
    assert epsilon(400, 20.0, 1e-5) == pytest.approx(epsilon(1, 1.0, 1e-5))
    assert all(a < b for a, b in pairwise(epsilon(uses, 2.0, 1e-5) for uses in (1, 2, 8, 10**6)))


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40), st.integers(1, 4))
def test_no_record_is_used_more_than_is_accounted(
    records: int, batch: int, batches: int, scalars: int
) -> None:
    """Against the worst orders: the same record last in one pass and first in the next."""
    positions = [
        (p % records) if p // records % 2 else records - 1 - p % records
        for p in range(batch * batches)
    ]
    used = np.zeros(records)
    for start in range(0, len(positions), batch):
        used += np.bincount(positions[start : start + batch], minlength=records) ** 2
    assert used.max() * scalars <= Use(records, batch, scalars).after(batches)


def test_a_pass_over_the_data_uses_a_record_once() -> None:
    assert Use(num_records=64, batch_size=16, noisy_per_batch=8).after(4) == 8
    assert Use(num_records=64, batch_size=16, noisy_per_batch=1).after(5) == 2


def test_a_budget_lasts_as_long_as_it_says() -> None:
    budget = Budget(Privacy(noise_multiplier="4", max_epsilon="3"))
    most = max(uses for uses in range(100) if budget.affords(uses))
    assert budget.epsilon(most) <= 3 < budget.epsilon(most + 1)
    assert budget.ending(most) is None
    ending = budget.ending(most + 1)
    assert ending is not None
    assert ending.publishes
    assert ending.reason == (
        f"privacy.maxEpsilon is 3, and another round would come to {budget.epsilon(most + 1):.2f}"
    )


def test_what_becomes_of_the_run_is_the_jobs_to_say() -> None:
    def ending(when: WhenSpent) -> bool | None:
        found = Budget(Privacy(max_epsilon="0.1", when_spent=when)).ending(1)
        return None if found is None else found.publishes

    assert [ending(when) for when in WhenSpent] == [True, False, None]
    assert Budget(Privacy()).ending(10**6) is None


def test_a_budget_that_no_round_fits_is_refused() -> None:
    assert fault(None) is None
    assert fault(Privacy(noise_multiplier="2", max_epsilon="3")) is None
    told = fault(Privacy(noise_multiplier="1", max_epsilon="3"))
    assert told == (
        "privacy.maxEpsilon: is 3, but the first round already spends "
        f"{epsilon(1, 1.0, 1e-5):.2f}; raise it or noiseMultiplier"
    )


def test_rounds_that_nobody_remembers_count_as_spent() -> None:
    rounds = Rounds()
    rounds.note(0, spends=True)
    rounds.note(1, spends=False)
    assert rounds.spent == 1
    rounds.note(5, spends=True)
    assert rounds.spent == 1 + 3 + 1


def test_what_a_process_spent_does_not_come_back_with_an_older_state() -> None:
    rounds = Rounds()
    rounds.note(0, spends=True)
    saved = rounds.state()
    rounds.note(1, spends=True)
    rounds.load(saved)
    rounds.recall(1, spends=True)
    rounds.note(1, spends=True)
    assert rounds.spent == 3


def test_a_new_process_counts_on_from_the_state_and_the_log() -> None:
    before, after = Rounds(), Rounds()
    before.note(0, spends=True)
    after.load(before.state())
    for number, spends in ((0, True), (1, True), (2, False)):
        after.recall(number, spends=spends)
    assert after.spent == 2
    after.note(3, spends=True)
    assert after.spent == 3
