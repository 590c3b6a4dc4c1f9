"""The optimizers of Dec-LoRA's local steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from declora_peers import Peer, train
from numpy.typing import NDArray
from torch import nn
from toys import ToyNetwork

from haversack_trainer.methods.declora.kinds import MixerKind, OptimizerKind
from haversack_trainer.methods.declora.optimizers import QuasiGlobalSgd, Sgd

RATE, MOMENTUM = 0.05, 0.9
KINDS = list(OptimizerKind)
Vectors = NDArray[np.float64]


def ring(num_peers: int) -> Vectors:
    """Mixing weights, a third to each neighbour and itself."""
    eye = np.eye(num_peers)
    return (eye + np.roll(eye, 1, axis=0) + np.roll(eye, -1, axis=0)) / 3


def pull(points: Vectors, wanted: Vectors) -> Vectors:
    """Gradients of halves of squared distances: each peer wants to be somewhere else."""
    return points - wanted


def reference(wanted: Vectors, rates: Sequence[float]) -> Vectors:
    """Algorithm 1 of arXiv 2102.04761 with mu = beta, one step a round, at a rate of its own."""
    points, ahead = np.zeros_like(wanted), np.zeros_like(wanted)
    for rate in rates:
        stepped = points - rate * (MOMENTUM * ahead + pull(points, wanted))
        mixed = ring(len(wanted)) @ stepped
        ahead = MOMENTUM * ahead + (1 - MOMENTUM) * (points - mixed) / rate
        points = mixed
    return points


def ours(
    wanted: Vectors,
    rates: Sequence[float],
    num_steps: int = 1,
    kind: type[Sgd] = QuasiGlobalSgd,
) -> Vectors:
    points = [nn.Parameter(torch.zeros(row.shape, dtype=torch.float64)) for row in wanted]
    optimizers = [kind([point], lr=RATE, momentum=MOMENTUM) for point in points]
    for rate in rates:
        for point, optimizer, goal in zip(points, optimizers, wanted, strict=True):
            optimizer.begin_round(num_steps * rate)
            optimizer.param_groups[0]["lr"] = rate
            for _ in range(num_steps):
                point.grad = torch.from_numpy(pull(point.detach().numpy(), goal))
                optimizer.step()
        mixed = ring(len(wanted)) @ np.stack([point.detach().numpy() for point in points])
        with torch.no_grad():
            for point, row in zip(points, mixed, strict=True):
                point.copy_(torch.from_numpy(row))
    return np.stack([point.detach().numpy() for point in points])


def unlike(num_peers: int) -> Vectors:
    return np.random.default_rng(3).normal(size=(num_peers, 4)) * 10


@pytest.mark.parametrize("fall", [1.0, 0.9])
def test_quasi_global_momentum_is_the_paper_s(fall: float) -> None:
    wanted, rates = unlike(5), [RATE * fall**number for number in range(30)]
    assert ours(wanted, rates) == pytest.approx(reference(wanted, rates), rel=1e-9, abs=1e-12)


def test_momentum_of_the_mixed_state_leaves_unlike_peers_closer_to_what_is_best_for_all() -> None:
    wanted = unlike(8)
    best = wanted.mean(axis=0)

    def error(kind: type[Sgd]) -> float:
        return float(np.abs(ours(wanted, [RATE] * 60, 3, kind) - best).max())

    assert error(QuasiGlobalSgd) < 0.7 * error(Sgd)


def test_what_was_frozen_has_no_past() -> None:
    """A tensor that others moved while it rested does not take that for its own momentum."""
    point = nn.Parameter(torch.zeros(2))
    optimizer = QuasiGlobalSgd([point], lr=RATE, momentum=MOMENTUM)
    point.requires_grad = False
    optimizer.begin_round(RATE)
    with torch.no_grad():
        point.add_(100)
    point.requires_grad = True
    optimizer.begin_round(RATE)
    point.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(point.detach(), torch.full((2,), 100.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixer", [MixerKind.FACTOR, MixerKind.ADF])
def test_a_resumed_peer_goes_on_exactly(kind: OptimizerKind, mixer: MixerKind) -> None:
    def crew() -> dict[int, Peer]:
        options: dict[str, Any] = {
            "optimizer": kind,
            "mixer": mixer,
        }
        return {n: Peer(n, rate="0.01", **options) for n in range(3)}

    network, going = ToyNetwork(), crew()
    train(network, going, range(6))
    again, stopped, resumed = ToyNetwork(), crew(), crew()
    train(again, stopped, range(3))
    for peer, other in zip(resumed.values(), stopped.values(), strict=True):
        peer.model.load_trainable_state(other.model.trainable_state())
        peer.method.load_state_dict(other.method.state_dict())
    train(again, resumed, range(3, 6))
    assert [peer.model.digest() for peer in resumed.values()] == [
        peer.model.digest() for peer in going.values()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_peer_leaves_behind_when_it_catches_up_is_its_momentum(kind: OptimizerKind) -> None:
    network, peers = ToyNetwork(), {n: Peer(n, optimizer=kind) for n in range(2)}
    train(network, peers, range(2))
    assert peers[0].method.state_dict()["optimizer"]["state"]
    peers[0].method.catch_up(network.history, network.fetch)
    assert not peers[0].method.state_dict()["optimizer"]["state"]
