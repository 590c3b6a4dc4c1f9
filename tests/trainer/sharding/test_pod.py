"""The processes of a pod train together: one world of two, which does all its checks, since imports take seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
from pods import run_pod


@pytest.mark.timeout(600)
def test_a_pod_trains_what_one_process_would(tmp_path: Path) -> None:
    tiny_models.llama(tmp_path / "llama")
    tiny_models.bert(tmp_path / "bert")
    # No compiler, and what a pod leaves behind that is killed while it builds an extension.
    extension = tmp_path / "extensions/deepspeed_shm_comm"
    extension.mkdir(parents=True)
    (extension / "lock").touch()
    run_pod(tmp_path, "loading", "forwards", "engines", PATH="")
    assert [path.name for path in extension.iterdir()] == ["lock"], "nothing was built"
