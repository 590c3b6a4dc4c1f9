"""Gradients by sample: clipped one by one, blurred together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from declora_peers import Peer as Gossiping
from droppeft_peers import Peer as Dropping
from toys import ToyBatch, ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.contract.privacy import DeltaPrivacy, Unit
from haversack_trainer.methods.declora.kinds import Graph, MixerKind
from haversack_trainer.privacy.account import Use, epsilon
from haversack_trainer.privacy.samples import SampleGradients, use_of


def privacy(clip: str, noise: str = "0.0000001") -> DeltaPrivacy:
    return DeltaPrivacy(clip=clip, noise_multiplier=noise, unit=Unit.SAMPLE)


def summed(model: ToyModel, batches: Sequence[ToyBatch], how: DeltaPrivacy) -> torch.Tensor:
    parameters = [parameter for _, parameter in model.trainables()]
    for parameter in parameters:
        parameter.grad = None
    gradients = SampleGradients(parameters, how)
    for batch in batches:
        for sample in batch.samples():
            gradients.add(model.sample_losses(sample))
    gradients.blur(sum(batch.num_samples for batch in batches))
    return torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])


def test_with_a_wide_clip_it_is_the_gradient_of_the_mean() -> None:
    model, batches = ToyModel(), ToyBatches().micro_batches(0)
    found = summed(model, batches, privacy("1000", noise="0.000000001"))
    whole = ToyBatch(*(torch.cat([getattr(b, n) for b in batches]) for n in ("inputs", "targets")))
    parameters = [parameter for _, parameter in model.trainables()]
    usual = torch.autograd.grad(model.loss(whole), parameters)
    assert torch.allclose(found, torch.cat([g.reshape(-1) for g in usual]), atol=1e-4)


def test_no_sample_moves_the_mean_by_more_than_the_sensitivity() -> None:
    model, batches = ToyModel(), ToyBatches().micro_batches(0)
    plain = summed(model, batches, privacy("0.5"))
    for wild in (math.nan, math.inf, 1e30, 5.0):
        inputs = batches[0].inputs.clone()
        inputs[2] = wild
        other = [ToyBatch(inputs, batches[0].targets), *batches[1:]]
        moved = summed(model, other, privacy("0.5"))
        assert float((moved - plain).norm()) <= 2 * 0.5 / 6 + 1e-5


def test_noise_is_on_every_number_that_is_trained() -> None:
    model, batches = ToyModel(width=60), ToyBatches(width=60).micro_batches(0)
    model.lora_a.requires_grad = False
    noise = summed(model, batches, privacy("0.5", "3")) - summed(model, batches, privacy("0.5"))
    assert len(noise) == 60 * 2 + 3 * 60
    assert float(noise.std()) == pytest.approx(3 * 2 * 0.5 / 6, rel=0.2)


def test_a_record_is_in_one_step_of_each_pass() -> None:
    assert use_of(ToyBatches()) == Use(num_records=60, batch_size=6, noisy_per_batch=1)


def peer(kind: type[Any], how: DeltaPrivacy) -> Any:
    if kind is Gossiping:
        return Gossiping(0, Graph.COMPLETE, num_records=60, mixer=MixerKind.FFA, privacy=how)
    return Dropping(0, privacy=how)


@pytest.mark.parametrize("kind", [Gossiping, Dropping])
def test_rounds_spend_what_their_steps_do_and_tell_no_loss(kind: type[Any]) -> None:
    """Three steps of 6 of 60 records a round: a pass in three rounds and a third."""
    network, one = ToyNetwork(), peer(kind, privacy("1", "4"))
    before = one.model.trainable_state()
    results = [network.run({0: one.method}, number)[0] for number in range(5)]
    spent = [result.metrics["epsilon"] for result in results]
    uses = [Use(60, 6, 1).after(3 * (number + 1)) for number in range(5)]
    assert spent == [pytest.approx(epsilon(count, 4.0, 1e-5)) for count in uses]
    assert all(math.isnan(result.loss) for result in results)
    after = one.model.trainable_state()
    assert all(torch.equal(after[n], before[n]) for n in before if "lora_A" in n)
    assert any(not torch.equal(after[n], before[n]) for n in before)


@pytest.mark.parametrize("kind", [Gossiping, Dropping])
def test_with_little_noise_it_learns(kind: type[Any]) -> None:
    network, one = ToyNetwork(), peer(kind, privacy("100"))
    held_out = [b for step in range(20) for b in ToyBatches(peer=50).micro_batches(step)]

    def loss() -> float:
        return float(np.mean([float(one.model.loss(b).detach()) for b in held_out]))

    start = loss()
    for number in range(15):
        network.run({0: one.method}, number)
    assert loss() < 0.9 * start


def test_a_round_made_twice_spends_twice() -> None:
    one = peer(Gossiping, privacy("1", "4"))
    one.method.local_step(0)
    again = one.method.local_step(0).metrics["epsilon"]
    assert again == pytest.approx(epsilon(2 * Use(60, 6, 1).after(3), 4.0, 1e-5))
