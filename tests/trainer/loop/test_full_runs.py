"""Every method trains all of a model's weights as it trains an adapter; what is published is a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_harness import Crew

from haversack_trainer.checkpoint.adapters import latest_adapter
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.objects.opening import open_store


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_run_on_all_weights_publishes_a_whole_model(
    crew: Callable[..., Crew], tmp_path: Path, method: str
) -> None:
    two = crew(method, adapter={"type": "Full"})
    model = two.peers[0].material.model
    first = model.trainables_digest()
    two.run()
    assert len(two.survivors) == 2
    publication = two.survivors[0].exchange.state.publication
    assert publication is not None
    found = latest_adapter(open_store(f"file://{tmp_path}/store/job"), tmp_path / "fetched")
    assert found is not None
    folder, manifest = found
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        f.name for f in manifest.files
    }
    assert manifest.verdict is not None
    assert manifest.verdict.adapter_digest != first
    with model.with_adapter(folder):
        assert model.trainables_digest() == manifest.verdict.adapter_digest
