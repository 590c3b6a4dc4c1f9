"""Several points in one forward pass: the same losses as one point after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from torch import nn

from haversack_trainer.data import Samples
from haversack_trainer.model import FineTuned, ModelError, load_model
from haversack_trainer.model.points import at_points, stacked

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
DIGITS = Samples(
    tuple(np.random.default_rng(0).random((6, 8, 8), np.float32)),
    LABELS,
    np.array([0, 1, 0, 1, 0, 1]),
)
CASES = (
    ("bert", CLASSIFY, LABELS),
    ("bert", "MaskedLM", ()),
    ("llama", "CausalLM", ()),
    ("llama", CLASSIFY, LABELS),
    ("vit", "ImageClassification", LABELS),
)


def points_around(model: FineTuned, count: int) -> torch.Tensor:
    here = torch.cat([p.detach().reshape(-1) for _, p in model.trainables()])
    noise = torch.randn(count, len(here), generator=torch.Generator().manual_seed(3))
    return here + 0.05 * noise


@pytest.mark.parametrize(("base", "task", "labels"), CASES, ids=str)
def test_each_point_has_the_losses_that_it_has_alone(
    base: str, task: str, labels: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(base)
    model = load_model(tiny_models.job(path, task), path, labels)
    model.train(mode=False)
    samples = DIGITS if base == "vit" else tiny_models.texts()
    batch = model.encode(samples, np.arange(5))
    points = points_around(model, 6)
    before = model.trainables_digest()
    together = model.losses_at(points, batch)
    assert model.trainables_digest() == before
    parameters = [parameter for _, parameter in model.trainables()]
    alone = []
    for point in points:
        nn.utils.vector_to_parameters(point.clone(), parameters)
        alone.append(model.sample_losses(batch).detach())
    assert together.shape == (6, 5)
    assert torch.allclose(together, torch.stack(alone), rtol=1e-5, atol=1e-6)
    assert len({float(losses.mean()) for losses in alone}) == 6


def test_a_tensor_of_two_modules_moves_in_both() -> None:
    first, second = (nn.Linear(3, 3, bias=False) for _ in range(2))
    second.weight = first.weight
    model = nn.Sequential(first, second)
    points = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), at_points(model, stacked(list(first.parameters()), points), 4):
        outputs = model(inputs.repeat(4, 1))
    for point, output in zip(points, outputs.view(4, 2, 3), strict=True):
        weight = point.view(3, 3)
        assert torch.allclose(output, inputs @ weight.T @ weight.T, atol=1e-5)


def test_a_module_that_does_not_see_the_batch_is_named() -> None:
    model = nn.Linear(3, 1)
    points = stacked(list(model.parameters()), torch.zeros(2, 4))
    with at_points(model, points, 2), pytest.raises(ModelError, match="Linear does not see the"):
        model(torch.ones(1, 3))
    assert model(torch.ones(1, 3)).shape == (1, 1)
