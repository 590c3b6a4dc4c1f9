"""The learning bench can be stopped at any evaluation, and its arms are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from bench import prompted
from bench.learners import Mezo
from bench.spsa_learning import RATES, TRIAL, Bench, arms

from haversack_trainer.data import Samples

ARMS = (("SPSA x 4, rate x 3", "0.01"), ("MeZO", "0.01"), ("AdamW", "0.003"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def some() -> Samples:
    whole = prompted.samples()
    assert whole.labels is not None
    of_each = [np.flatnonzero(whole.labels == label)[:20] for label in range(len(whole.classes))]
    return whole.take(np.concatenate(of_each))


def curve(bench: Bench, arm: str) -> list[dict[str, Any]]:
    return [{**point, "seconds": 0} for point in bench.story.points(arm)]


def test_a_bench_that_was_stopped_goes_on_as_if_it_had_not_been(
    llama: Path, some: Samples, tmp_path: Path
) -> None:
    through = Bench(llama, some, 2, tmp_path / "through", every=32)
    for arm, rate in ARMS:
        for _ in range(3):
            through.advance(arm, arm, rate)
    for _ in range(3):
        piece = Bench(llama, some, 2, tmp_path / "pieces", every=32)
        for arm, rate in ARMS:
            piece.advance(arm, arm, rate)
    for arm, _ in ARMS:
        points = curve(through, arm)
        assert [point["forwards"] for point in points] == [0, 32, 64]
        assert points == curve(piece, arm)
        assert points[0]["held_out_loss"] == curve(through, "MeZO")[0]["held_out_loss"]
    losses = [loss for point in curve(through, "AdamW") for loss in point["training_losses"]]
    assert len(losses) == 16


def test_rates_are_tried_before_the_arms_begin(llama: Path, some: Samples, tmp_path: Path) -> None:
    bench = Bench(llama, some, 2, tmp_path)
    assert bench.best_rate("SPSA") is None
    assert arms(bench, tmp_path, end=0.0) == []
    for kind, rates in RATES.items():
        for rate in rates:
            for end in range(TRIAL + 1):
                losses = [float("nan") if rate == rates[0] else float(rate)]
                point = {"training_losses": losses, "forwards": end}
                bench.story.keep(f"trial {kind} {rate}", point, {})
    assert {kind: bench.best_rate(kind) for kind in RATES} == {k: r[1] for k, r in RATES.items()}
    chosen = {case.arm: case.rate for case in arms(bench, tmp_path, end=0.0)}
    assert chosen["SPSA x 16"] == chosen["SPSA x 1"] == RATES["SPSA"][1]
    assert float(chosen["SPSA x 16, rate x 3"]) == 3 * float(chosen["SPSA x 1"])
    assert chosen["MeZO"] == RATES["MeZO"][1]


def test_mezo_moves_along_one_direction_and_comes_back(
    llama: Path, some: Samples, tmp_path: Path
) -> None:
    bench = Bench(llama, some, 2, tmp_path)
    before = torch.cat([p.detach().flatten() for _, p in bench.model.trainables()])
    Mezo(bench.setting, 0.0).step(3)
    after = torch.cat([p.detach().flatten() for _, p in bench.model.trainables()])
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    Mezo(bench.setting, 0.01).step(3)
    moved = torch.cat([p.detach().flatten() for _, p in bench.model.trainables()]) - before
    assert float(moved.norm()) > 1e-4
