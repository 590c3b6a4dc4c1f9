"""SPSA's options, each against its formula written out."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import ToyBatch, ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.methods.spsa.codec import decode
from haversack_trainer.methods.spsa.directions import Signs, Term, add_signs
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.update import Update, update_of
from haversack_trainer.methods.spsa.words import key

SEED = 17
EPS = 2.0**-7


def settings(**changes: Any) -> Settings:
    return Settings.model_validate({"directions": 4, "learning_rate": "0.002", **changes})


def vector(model: ToyModel) -> Tensor:
    return torch.cat([t.reshape(-1) for t in model.trainable_state().values()])


def loss_at(point: Tensor, batch: list[ToyBatch]) -> float:
    model = ToyModel()
    nn.utils.vector_to_parameters(point.clone(), [p for _, p in model.trainables()])
    losses = torch.cat([model.sample_losses(micro).detach() for micro in batch])
    return float(losses.double().mean())


def direction(round: int, index: int, count: int) -> Tensor:
    part = np.zeros(count, np.float32)
    add_signs(part, 0, [Term(key(SEED, round, 0, index), 1.0)])
    return torch.from_numpy(part)


def measured(chosen: Settings, round: int = 0) -> list[float]:
    method = Spsa(chosen, 0, SEED, ToyModel(), ToyBatches())
    method.local_step(round)
    return method._measured


def test_one_sided_differences_share_the_loss_in_the_middle() -> None:
    theta, batch = vector(ToyModel()), ToyBatches().micro_batches(3)
    middle = loss_at(theta, batch)
    expected = [
        (loss_at(theta + EPS * direction(3, j, len(theta)), batch) - middle) / EPS for j in range(4)
    ]
    chosen = settings(differences="OneSided", shared_batch=True)
    assert measured(chosen, 3) == pytest.approx(expected, rel=1e-3)


def test_directions_have_batches_of_their_own_unless_they_share_one() -> None:
    theta = vector(ToyModel())

    def slope(j: int, batch: list[ToyBatch]) -> float:
        z = EPS * direction(3, j, len(theta))
        return (loss_at(theta + z, batch) - loss_at(theta - z, batch)) / (2 * EPS)

    own = [slope(j, ToyBatches().micro_batches(3 * 4 + j)) for j in range(4)]
    shared = [slope(j, ToyBatches().micro_batches(3)) for j in range(4)]
    assert measured(settings(), 3) == pytest.approx(own, rel=1e-3)
    assert measured(settings(shared_batch=True), 3) == pytest.approx(shared, rel=1e-3)


@pytest.mark.parametrize("size", [2, 3, 8, 512])
@pytest.mark.parametrize("differences", ["OneSided", "TwoSided"])
def test_points_in_one_pass_measure_what_they_measure_alone(size: int, differences: str) -> None:
    chosen = settings(differences=differences, shared_batch=True)
    together = measured(chosen.model_copy(update={"points_per_pass": size}), 5)
    assert together == pytest.approx(measured(chosen, 5), rel=1e-4)


class StuckModel(ToyModel):
    """One that does not see other points in its passes."""

    def losses_at(self, points: Tensor, batch: ToyBatch) -> Tensor:
        return self.sample_losses(batch).expand(len(points), -1) * 1.01


def test_a_model_whose_passes_go_wrong_is_measured_one_point_at_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    method = Spsa(settings(points_per_pass=2), 0, SEED, StuckModel(), ToyBatches())
    method.local_step(0)
    assert method._measured == measured(settings())
    assert "measuring one point at a time" in caplog.text


def closed_with(codes: bytes, aux: int = 16, round: int = 0) -> ClosedRound:
    return ClosedRound(round, (0,), (Payload(0, codes, aux),), 1)


def test_the_normalised_step_does_not_know_the_losses_scale() -> None:
    chosen = settings(normalise=True, learning_rate="0.5", scale_with_peers=False)
    codes = bytes([127, 120, 128 + 119, 110])
    values = [value for value in decode(16, codes) if value is not None]
    expected = [-0.5 / 4 * value / statistics.stdev(values) for value in values]
    coefficients = [t.coefficient for t in update_of(closed_with(codes), SEED, chosen).terms]
    assert coefficients == pytest.approx(expected, rel=1e-6)
    scaled = update_of(closed_with(codes, aux=16 + 80), SEED, chosen)
    assert [t.coefficient for t in scaled.terms] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("codes", [bytes([127] * 4), bytes([127, 0x80, 0x80, 0x80])])
def test_scalars_without_a_spread_take_no_normalised_step(codes: bytes) -> None:
    assert update_of(closed_with(codes), SEED, settings(normalise=True)).terms == ()


def test_the_default_clip_cuts_what_nobody_honest_measures() -> None:
    honest = (
        Payload(0, bytes([127, 120, 119, 118]), 0),
        Payload(1, bytes([126, 125, 124, 100]), 0),
    )
    abuse = Payload(2, bytes([127] * 4), 127)
    clipped, free = (
        update_of(ClosedRound(0, (0, 1, 2), (*honest, abuse), 1), SEED, settings(clip_median=limit))
        for limit in (Settings().clip_median, "0")
    )
    assert [t.coefficient for t in clipped.terms[:8]] == [t.coefficient for t in free.terms[:8]]
    # Median 0.84 to 1: at most 10 times that, rather than 2^(127/8).
    assert (
        max(abs(t.coefficient) for t in free.terms) / max(abs(t.coefficient) for t in clipped.terms)
        > 5000
    )


class Replica:
    """A peer with momentum."""

    def __init__(self, peer: int) -> None:
        self.model = ToyModel()
        self.method = Spsa(settings(momentum="0.9"), peer, SEED, self.model, ToyBatches(peer))


def test_momentum_is_a_function_of_the_log() -> None:
    network, peers = ToyNetwork(), {0: Replica(0), 1: Replica(1)}
    theta, velocity = vector(ToyModel()), torch.zeros(len(vector(ToyModel())))
    for number in range(6):
        network.run({n: p.method for n, p in peers.items()}, number)
        plain = update_of(network.history[-1], SEED, settings())
        velocity *= float(np.float32(0.9))
        plain.apply(velocity, 0, Signs(len(velocity)))
        theta += velocity
        assert torch.equal(vector(peers[0].model), theta)
        assert peers[0].model.digest() == peers[1].model.digest()
    late = Replica(7)
    late.method.catch_up(network.history, network.fetch)
    assert late.model.digest() == peers[0].model.digest()


def test_momentum_goes_on_from_a_snapshot() -> None:
    network, peers = ToyNetwork(), {0: Replica(0)}
    for number in range(3):
        network.run({0: peers[0].method}, number)
    late = Replica(7)
    late.model.load_trainable_state(peers[0].model.trainable_state())
    late.method.load_state_dict(peers[0].method.state_dict())
    network.run({0: peers[0].method}, 3)
    late.method.catch_up(network.history[3:], network.fetch)
    assert late.model.digest() == peers[0].model.digest()


def test_momentum_with_weight_decay_is_the_formula() -> None:
    update = Update(0.5, (), 0.25)
    theta, velocity = torch.tensor([8.0]), torch.tensor([4.0])
    update.apply(theta, 0, Signs(1), velocity)
    assert (theta.item(), velocity.item()) == (5.0, 1.0)


def test_a_sign_alone_is_a_bit_for_a_direction() -> None:
    chosen = settings(code="Sign", directions=11, learning_rate="0.5", scale_with_peers=False)
    method = Spsa(chosen, 0, SEED, ToyModel(), ToyBatches())
    method.local_step(0)
    out = method.outgoing()
    assert len(out.body) == 2
    terms = update_of(closed_with(out.body), SEED, chosen).terms
    signs = [math.copysign(1, scalar) for scalar in method._measured]
    assert [t.coefficient for t in terms] == pytest.approx([-0.5 / 11 * sign for sign in signs])


def test_invalid_signs_are_dropped_alone() -> None:
    chosen = settings(code="Sign")
    batches = ToyBatches(poisoned=lambda step: step == 2)
    method = Spsa(chosen, 0, SEED, ToyModel(), batches)
    method.local_step(0)
    terms = update_of(closed_with(method.outgoing().body), SEED, chosen).terms
    assert [t.key for t in terms] == [key(SEED, 0, 0, j) for j in (0, 1, 3)]


def test_rounding_at_random_is_the_same_again_and_another_for_each_scalar() -> None:
    def body(peer: int) -> bytes:
        chosen = settings(code="StochasticByte", directions=64)
        method = Spsa(chosen, peer, SEED, ToyModel(), ToyBatches())
        method._measured = [1.0, *[0.69] * 63]
        return method.outgoing().body

    assert body(0) == body(0) != body(1)
    assert len(set(body(0)[1:])) == 2
