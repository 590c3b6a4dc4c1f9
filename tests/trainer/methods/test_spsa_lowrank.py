"""Directions of low rank: their rank, their size, and the same bits however they are cut and summed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from devices import DEVICES
from torch import Size, Tensor
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.spsa.directions import TILE, Directions, Term
from haversack_trainer.methods.spsa.lowrank import LowRank
from haversack_trainer.methods.spsa.method import Spsa
from haversack_trainer.methods.spsa.settings import Settings
from haversack_trainer.methods.spsa.words import key

SEED = 17
CPU = torch.device("cpu")


def whole(
    directions: Directions, count: int, terms: list[Term], device: torch.device = CPU
) -> Tensor:
    flat = torch.zeros(count, device=device)
    for start, end in directions.pieces(device):
        directions.add(flat[start:end], start, terms)
    return flat.cpu()


def low_rank(*shapes: tuple[int, ...], rank: int = 4, refresh: int = 10) -> LowRank:
    return LowRank([Size(shape) for shape in shapes], SEED, rank, refresh)


def rank_of(matrices: list[Tensor]) -> int:
    """Of all rows together."""
    return int(torch.linalg.matrix_rank(torch.cat(matrices).double()))


def term(step: int, index: int = 0, coefficient: float = 1.0) -> Term:
    return Term(key(SEED, step, 0, index), coefficient, step)


def test_a_matrix_has_the_rank_and_unit_elements() -> None:
    zs = [whole(low_rank((64, 96)), 64 * 96, [term(step)]).view(64, 96) for step in range(10)]
    assert rank_of(zs[:1]) <= 4
    assert rank_of(zs) == rank_of([z.T for z in zs]) == 4
    drawn = [
        whole(low_rank((64, 96)), 64 * 96, [term(10 * step)]).square().mean() for step in range(40)
    ]
    assert float(torch.stack(drawn).mean()) == pytest.approx(1, abs=0.1)


def test_sides_of_a_power_of_two_give_orthogonal_bases() -> None:
    bases = low_rank((64, 64))
    for salt in (1, 2):
        basis = bases._basis(salt, 64, range(64), CPU)
        assert torch.equal(basis.T @ basis, 64 * torch.eye(4, dtype=torch.float64))


def test_the_subspace_is_kept_for_a_while_and_then_left() -> None:
    directions = low_rank((64, 64))
    zs = [whole(directions, 4096, [term(step)]).view(64, 64) for step in range(20)]
    assert (rank_of(zs[:10]), rank_of(zs)) == (4, 8)
    assert not torch.equal(zs[0], zs[1])


def test_the_estimate_is_unbiased_over_subspaces() -> None:
    slope = torch.linspace(-1, 1, 12 * 10)
    directions = low_rank((12, 10), rank=2, refresh=1)
    drawn = torch.stack([whole(directions, 120, [term(step)]) for step in range(6000)])
    samples = (drawn @ slope)[:, None] * drawn
    error = (samples.mean(0) - slope).abs()
    assert (error < 5 * samples.std(0) / len(drawn) ** 0.5).all()


def test_thin_factors_are_nearly_square_and_vectors_get_signs() -> None:
    directions = low_rank((2, 600), (7,), (3, 5))
    zs = [whole(directions, 1222, [term(step)]) for step in range(10)]
    assert rank_of([z[:1200].view(30, 40) for z in zs]) == 4
    assert set(zs[0][1200:].tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_pieces_devices_and_order_make_no_difference(device: torch.device) -> None:
    shapes = ((300, 700), (50,), (64, 64))
    count = sum(Size(shape).numel() for shape in shapes)
    assert count > 2 * TILE["cpu"]
    terms = [term(step, j, 0.37 / (j + 1)) for step, j in itertools.product((3, 12), range(5))]
    terms = [t._replace(coefficient=float(np.float32(t.coefficient))) for t in terms]
    directions = low_rank(*shapes)
    expected = whole(directions, count, terms)
    assert torch.equal(whole(directions, count, terms, device), expected)
    by_rows = torch.zeros(count)
    for start in range(0, 300 * 700, 700):
        directions.add(by_rows[start : start + 700], start, terms)
    assert torch.equal(by_rows[: 300 * 700], expected[: 300 * 700])
    # Within a period the sum is exact, whatever its order.
    reordered = whole(directions, count, [*reversed(terms[:5]), *reversed(terms[5:])])
    assert torch.equal(reordered[: 300 * 700], expected[: 300 * 700])


def test_replicas_stay_equal_and_replay() -> None:
    chosen = Settings(
        directions=4, learning_rate="0.002", distribution="LowRank", rank=1, refresh_rounds=3
    )
    network = ToyNetwork()
    models = [ToyModel(width=16) for _ in range(3)]
    methods = {n: Spsa(chosen, n, SEED, models[n], ToyBatches(n, width=16)) for n in range(3)}
    for number in range(8):
        network.run({n: methods[n] for n in (0, 1)}, number)
    methods[2].catch_up(network.history, network.fetch)
    assert len({model.digest() for model in models}) == 1
    assert models[0].digest() != ToyModel(width=16).digest()
