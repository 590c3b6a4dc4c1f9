"""Differential privacy of the scalars: the bound, the noise, the account, and what it costs."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from statistics import NormalDist, fmean, pstdev

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.privacy import Use, epsilon, protected
from haversack_trainer.methods.spsa.settings import Privacy, Settings

SEED = 17


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
    assert Use(num_records=64, batch_size=16, scalars_per_batch=8).after(4) == 8
    assert Use(num_records=64, batch_size=16, scalars_per_batch=1).after(5) == 2


PRIVACY = Privacy(clip="0.5", noise_multiplier="2")


def test_scalars_are_means_of_bounded_slopes_with_the_promised_noise() -> None:
    slopes = torch.tensor([[0.25, 3.0, -9.0, math.nan]], dtype=torch.float64)
    drawn = [protected(slopes, PRIVACY, random.Random(i))[0] for i in range(4000)]
    assert fmean(drawn) == pytest.approx((0.25 + 0.5 - 0.5 + 0) / 4, abs=0.04)
    assert pstdev(drawn) == pytest.approx(2 * 2 * 0.5 / 4, rel=0.05)


def test_one_record_moves_a_scalar_by_no_more_than_the_sensitivity() -> None:
    generator = torch.Generator().manual_seed(1)
    slopes = torch.randn(3, 8, generator=generator, dtype=torch.float64) * 2
    plain = protected(slopes, PRIVACY, random.Random(1))
    for value in (1e30, -1e30, math.inf, -math.inf, math.nan):
        other = slopes.clone()
        other[:, 5] = value
        moved = protected(other, PRIVACY, random.Random(1))
        assert all(abs(a - b) <= 2 * 0.5 / 8 + 1e-12 for a, b in zip(plain, moved, strict=True))


def private(privacy: Privacy | None, *, poisoned: bool = False, seed: int = 1) -> Spsa:
    chosen = Settings(directions=8, learning_rate="0.002", privacy=privacy)
    method = Spsa(chosen, 0, SEED, ToyModel(), ToyBatches(poisoned=lambda _: poisoned))
    method._noise = random.Random(seed)  # type: ignore[assignment]  # to be the same again
    return method


def test_a_step_tells_what_it_spent_and_no_loss() -> None:
    network, method = ToyNetwork(), private(PRIVACY)
    result = method.local_step(2)
    # 3 rounds of 8 batches of 6 of 60 records: 144 places, so that a record is in at most 3 batches.
    assert result.metrics == {"epsilon": pytest.approx(epsilon(3, 2.0, 1e-5))}
    assert math.isnan(result.loss)
    assert result.num_samples == 48
    closed = network.close(2, {0: method.outgoing()})
    assert method.incoming(network.swap(closed, 0))["epsilon"] == result.metrics["epsilon"]


def test_that_a_record_has_no_finite_loss_is_not_told() -> None:
    method = private(PRIVACY, poisoned=True)
    result = method.local_step(0)
    assert result.num_nonfinite_steps == 0
    assert len(method.outgoing().body) == 8


def test_noise_is_the_operating_systems() -> None:
    drawn = []
    for _ in range(2):
        method = Spsa(Settings(privacy=PRIVACY), 0, SEED, ToyModel(), ToyBatches())
        method.local_step(0)
        drawn.append(method._measured)
    assert drawn[0] != drawn[1]


def test_privacy_costs_some_of_what_is_learnt_and_not_all() -> None:
    held_out = [b for step in range(40) for b in ToyBatches(peer=50).micro_batches(step)]

    def final_loss(privacy: Privacy | None) -> float:
        network, method = ToyNetwork(), private(privacy)
        model = method._model
        for number in range(120):
            network.run({0: method}, number)
        assert isinstance(model, ToyModel)
        return sum(model.figure(batch) for batch in held_out)

    start = sum(ToyModel().figure(batch) for batch in held_out)
    free, noisy = final_loss(None), final_loss(Privacy(clip="8", noise_multiplier="1"))
    assert free < noisy < start
