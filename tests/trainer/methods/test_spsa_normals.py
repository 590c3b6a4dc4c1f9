"""The compatibility mode: true normal deviates, sliced like signs, and MeZO's own step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from devices import CPU, DEVICES
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.spsa.directions import Term
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.normals import Normals, deviates
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.update import scalars
from haversack_trainer.methods.spsa.words import key, words

SEED = 17


def box_muller(z: int, count: int) -> NDArray[np.float64]:
    """From the same words, by the libraries' logarithm, sine and cosine."""
    found = []
    for word in words(z, 0, -(-count // 2)):
        low, high = int(word) % 2**32, int(word) >> 32
        radius = math.sqrt(-2 * math.log((high + 1) / 2**32))
        angle = (low % 2**30 / 2**30 - 0.5) * math.pi / 2
        pair = (math.cos(angle), math.sin(angle))
        swapped = pair[::-1] if low >> 30 & 1 else pair
        sign = 1 if low >> 31 else -1
        found += [sign * radius * value for value in swapped]
    return np.array(found[:count])


def test_deviates_are_those_of_box_and_muller() -> None:
    z = key(SEED, 0, 0, 0)
    assert np.allclose(deviates(z, 0, 20_001, CPU).numpy(), box_muller(z, 20_001), rtol=1e-7)


def test_moments_and_tails_are_normal() -> None:
    size = 2**20
    z = deviates(key(SEED, 1, 0, 0), 0, size, CPU).double()
    moments = [float((z**power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=5 * math.sqrt(96 / size))
    for limit, share in ((1, 0.317311), (2, 0.045500), (4, 6.334e-5)):
        seen = float((z.abs() > limit).double().mean())
        assert seen == pytest.approx(share, abs=5 * math.sqrt(share / size))
    assert abs(float((z[0::2] * z[1::2]).mean())) < 5 / math.sqrt(size / 2)


@given(st.integers(0, 2**64 - 1), st.integers(0, 700), st.integers(1, 300))
def test_a_slice_is_the_slice_of_the_whole(z: int, start: int, count: int) -> None:
    whole = deviates(z, 0, start + count, CPU)
    assert torch.equal(deviates(z, start, count, CPU), whole[start:])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_every_device_makes_the_same_bits(device: torch.device) -> None:
    terms = [Term(key(5, 0, 0, j), c) for j, c in enumerate((1e-3, -0.3, 3.0))]
    expected = torch.linspace(-1, 1, 100_000)
    part = expected.to(device)
    Normals(100_000).add(expected, 7, terms)
    Normals(100_000).add(part, 7, terms)
    assert torch.equal(part.cpu(), expected)


def test_one_machine_with_one_direction_takes_mezos_step() -> None:
    """Against MeZO's Algorithm 1 in fp64, with a dense z; but for the byte, which is applied as decoded."""
    settings = Settings(
        directions=1, learning_rate="0.01", distribution="Gaussian", clip_median="0"
    )
    network, model, reference = ToyNetwork(), ToyModel(), ToyModel()
    method = Spsa(settings, 0, SEED, model, ToyBatches())
    batch, eps = ToyBatches().micro_batches(0), 2.0**-7
    theta = torch.cat([t.reshape(-1) for t in reference.trainable_state().values()])
    z = torch.from_numpy(box_muller(key(SEED, 0, 0, 0), theta.numel())).float()

    def loss(at: torch.Tensor) -> float:
        nn.utils.vector_to_parameters(at, [p for _, p in reference.trainables()])
        return sum(reference.figure(b) * b.num_samples for b in batch) / 6

    projected = (loss(theta + eps * z) - loss(theta - eps * z)) / (2 * eps)
    method.local_step(0)
    assert method._measured == [pytest.approx(projected, rel=1e-3)]
    sent = network.close(0, {0: method.outgoing()})
    method.incoming(network.swap(sent, 0))
    (scalar,) = scalars(sent, settings)
    assert scalar.value == pytest.approx(projected, rel=0.045)
    expected = theta - 0.01 * scalar.value * z
    live = torch.cat([t.reshape(-1) for t in model.trainable_state().values()])
    assert (live - expected).abs().max() < 1e-6
