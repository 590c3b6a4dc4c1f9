"""Projected local steps: exact slopes, unbiased, and the same log as ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.spsa.directions import Term, add_signs
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.words import key

SEED = 17


def settings(**changes: Any) -> Settings:
    return Settings.model_validate(
        {"estimator": "Projection", "directions": 4, "learning_rate": "0.002", **changes}
    )


def direction(round: int, index: int, count: int) -> Tensor:
    part = np.zeros(count, np.float32)
    add_signs(part, 0, [Term(key(SEED, round, 0, index), 1.0)])
    return torch.from_numpy(part)


def descended(steps: range, rate: float) -> tuple[Tensor, Tensor]:
    """The trainables before and after plain gradient descent on the batches' means."""
    model = ToyModel()
    parameters = [p for _, p in model.trainables()]
    before = nn.utils.parameters_to_vector(parameters).detach().clone()
    for step in steps:
        micros = ToyBatches().micro_batches(step)
        loss = torch.cat([model.sample_losses(micro) for micro in micros]).mean()
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.data -= rate * gradient
    return before, nn.utils.parameters_to_vector(parameters).detach()


@pytest.mark.parametrize("count", [1, 5])
def test_scalars_are_what_the_local_steps_moved_along_each_direction(count: int) -> None:
    model = ToyModel()
    chosen = settings(local_steps=count, local_learning_rate="0.05")
    method = Spsa(chosen, 0, SEED, model, ToyBatches())
    before = model.digest()
    result = method.local_step(3)
    assert model.digest() == before
    assert all(parameter.grad is None for _, parameter in model.trainables())
    origin, moved = descended(range(3 * count, 4 * count), 0.05)
    gradient = (origin - moved) / (0.05 * count)
    expected = [float(direction(3, j, len(origin)) @ gradient) for j in range(4)]
    assert method._measured == pytest.approx(expected, rel=1e-3)
    assert result.num_samples == 6 * count


def test_one_step_s_projections_are_the_limits_of_differences() -> None:
    projected = Spsa(settings(), 0, SEED, ToyModel(), ToyBatches())
    measured = Spsa(
        Settings(directions=4, shared_batch=True, epsilon_log2=10),
        0,
        SEED,
        ToyModel(),
        ToyBatches(),
    )
    for method in (projected, measured):
        method.local_step(2)
    assert projected._measured == pytest.approx(measured._measured, rel=0.02, abs=1e-3)


def test_the_projected_gradient_is_unbiased() -> None:
    """Mean of (z·v)·z over many directions: v, with variance |v|^2 at most in each element."""
    origin, moved = descended(range(1), 0.01)
    gradient, count = (origin - moved) / 0.01, 40_000
    z = direction(0, 0, count * 64).view(count, 64)[:, : len(gradient)]
    error = ((z @ gradient)[:, None] * z).mean(0) - gradient
    assert float(error.abs().max()) < 5 * float(gradient.norm()) / count**0.5


def test_replicas_learn_and_a_newcomer_replays() -> None:
    held_out = [b for step in range(40) for b in ToyBatches(peer=50).micro_batches(step)]
    network, models = ToyNetwork(), [ToyModel() for _ in range(3)]
    methods = [
        Spsa(settings(directions=8), peer, SEED, models[peer], ToyBatches(peer))
        for peer in range(3)
    ]
    start = sum(models[0].figure(batch) for batch in held_out)
    for number in range(60):
        network.run({peer: methods[peer] for peer in (0, 1)}, number)
    methods[2].catch_up(network.history, network.fetch)
    assert len({model.digest() for model in models}) == 1
    assert sum(models[2].figure(batch) for batch in held_out) < 0.95 * start


def test_a_local_step_that_blows_up_is_invalid_and_leaves_the_state() -> None:
    model = ToyModel()
    before = model.digest()
    method = Spsa(settings(), 0, SEED, model, ToyBatches(poisoned=lambda _: True))
    result = method.local_step(0)
    assert method.outgoing().body == b""
    assert result.num_nonfinite_steps == 1
    assert model.digest() == before
