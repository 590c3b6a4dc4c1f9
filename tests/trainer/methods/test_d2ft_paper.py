"""The preset: a job with the paper's settings is the paper's algorithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from d2ft_peers import scheduled_by
from grouped_toys import GroupedToy, PieceBatches

from haversack_trainer.blocks.scores import fisher, magnitude
from haversack_trainer.methods.d2ft.cost import FORWARD, FULL, SKIP
from haversack_trainer.methods.d2ft.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "examples/d2ft-paper.yaml"


@pytest.fixture
def paper() -> Settings:
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    assert spec["training"]["batchSize"] == 5 * spec["training"]["microBatchSize"]
    return Settings.model_validate(spec["method"]["d2FT"])


def test_each_group_is_a_device_with_three_fifths_of_its_work(paper: Settings) -> None:
    model = GroupedToy(frozen=True)
    planner = scheduled_by(paper, model, PieceBatches())._planner
    site = planner.site
    assert site.where == tuple(range(12))
    assert set(site.capacities) == {3 * site.costs.full}
    assert planner.needs.least(site).max() == SKIP
    assert planner.needs.min_active == planner.needs.max_idle_steps == 0
    assert paper.rescale == "None"


def test_scores_are_those_of_the_whole_data_before_training(paper: Settings) -> None:
    model, batches = GroupedToy(frozen=True), PieceBatches(num_records=20)
    scheduled = scheduled_by(paper, model, batches)
    expected = {}
    for step in (0, 1):
        for piece in batches.pieces(step, 5):
            for _, parameter in model.trainables():
                parameter.grad = None
            model.loss(piece.batches[0]).backward()  # type: ignore[no-untyped-call]
            for record in piece.records.tolist():
                expected[record] = fisher(scheduled._scorer.groups).ravel()
    for _, parameter in model.trainables():
        parameter.grad = None
    for step in range(3):
        scheduled.accumulate(step)
        shares = scheduled.figures()
        assert shares["scoring_share"] == (2 if step == 0 else 0)
        assert shares["compute_share"] == pytest.approx(0.6)
    found = scheduled._memories["Fisher"].recall([np.array([record]) for record in range(20)])
    wanted = np.stack([expected[record] for record in range(20)], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    magnitudes = scheduled._scorer.magnitudes
    assert magnitudes is not None
    np.testing.assert_allclose(magnitudes, magnitude(scheduled._scorer.groups).ravel())


def test_what_is_left_after_the_first_stage_runs_forward_where_fisher_is_largest(
    paper: Settings,
) -> None:
    """With rho a half: 0.8 of three makes two in full, the rest two forward only, and one is skipped."""
    batches = PieceBatches()
    scheduled = scheduled_by(paper, GroupedToy(frozen=True), batches)
    pieces = batches.pieces(0, 5)
    scheduled._refresh(0, pieces)
    worth, ops = scheduled._worth(pieces), scheduled._table(0, pieces)
    for k in range(12):
        counts = [int((ops[k] == op).sum()) for op in (FULL, FORWARD, SKIP)]
        assert counts == [2, 2, 1]
        forward = worth.forward[k]
        assert forward[ops[k] == SKIP].max() <= forward[ops[k] == FORWARD].min()
        # Magnitude is the same for all micro-batches: which ones train goes in turn.
    trained = (ops == FULL).sum(axis=0)
    assert trained.max() - trained.min() <= 2
