"""Differential privacy of the scalars: the bound, the noise, and what it costs."""

from __future__ import annotations

import math
import random
from statistics import fmean, pstdev

import pytest
import torch
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.privacy import protected
from haversack_trainer.methods.spsa.settings import Settings, SlopePrivacy
from haversack_trainer.privacy.account import epsilon

SEED = 17


PRIVACY = SlopePrivacy(clip="0.5", noise_multiplier="2")


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


def private(privacy: SlopePrivacy | None, *, poisoned: bool = False, seed: int = 1) -> Spsa:
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

    def final_loss(privacy: SlopePrivacy | None) -> float:
        network, method = ToyNetwork(), private(privacy)
        model = method._model
        for number in range(120):
            network.run({0: method}, number)
        assert isinstance(model, ToyModel)
        return sum(model.figure(batch) for batch in held_out)

    start = sum(ToyModel().figure(batch) for batch in held_out)
    free, noisy = final_loss(None), final_loss(SlopePrivacy(clip="8", noise_multiplier="1"))
    assert free < noisy < start
