from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models

from haversack_trainer.model import FineTuned, load_model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """A tiny BERT with a new head for two families of docstrings."""
    folder: Path = tiny_models.bert(tmp_path_factory.mktemp("bert"))
    job = tiny_models.job(folder, "SequenceClassification")
    return load_model(job, folder, tiny_models.texts().classes)
