"""The adapter on disk is PEFT's: anybody loads it with PEFT alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from torch.nn.functional import cross_entropy

from haversack_trainer.model import FineTuned, ModelError, load_model

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
FIRST = np.arange(6)

FRESH = """
import json, sys
import torch, transformers
from peft import PeftModel
texts, answers = json.loads(sys.argv[1]), []
for auto, adapter in json.loads(sys.argv[2]):
    base = json.load(open(adapter + "/adapter_config.json"))["base_model_name_or_path"]
    config = transformers.AutoConfig.from_pretrained(adapter if "Sequence" in auto else base)
    model = getattr(transformers, auto).from_pretrained(base, config=config)
    model = PeftModel.from_pretrained(model, adapter).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(base)(
        texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(**tokens).logits
    answers.append({"logits": logits.tolist(), "labels": list(config.id2label.values())})
print(json.dumps(answers))
"""


def trained(path: Path, task: str, labels: tuple[str, ...], **changes: Any) -> FineTuned:
    """A model whose every trainable differs from its first value."""
    model = load_model(tiny_models.job(path, task, **changes), path, labels)
    generator = torch.Generator().manual_seed(0)
    state = model.trainable_state()
    model.load_trainable_state(
        {n: v + 0.3 * torch.randn(v.shape, generator=generator) for n, v in state.items()}
    )
    model.train(False)
    return model


def losses(model: FineTuned) -> torch.Tensor:
    with torch.no_grad():
        return model.losses(model.encode(tiny_models.texts(), FIRST))[0]


def in_fresh_process(*adapters: tuple[str, Path]) -> list[Any]:
    """For each (class of transformers, adapter folder) the logits and names of classes."""
    texts = json.dumps(tiny_models.texts().take(FIRST).inputs)
    folders = json.dumps([(auto, str(folder)) for auto, folder in adapters])
    ended = subprocess.run(
        [sys.executable, "-c", FRESH, texts, folders],
        check=True,
        capture_output=True,
        timeout=110,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    answers: list[Any] = json.loads(ended.stdout.splitlines()[-1])
    return answers


def test_a_fresh_process_with_peft_alone_gives_the_same_answers(
    bert: Path, llama: Path, tmp_path: Path
) -> None:
    classifier, speaker = trained(bert, CLASSIFY, LABELS), trained(llama, "CausalLM", ())
    classifier.save_adapter(tmp_path / "classes")
    speaker.save_adapter(tmp_path / "speech")
    named, spoken = in_fresh_process(
        ("AutoModelForSequenceClassification", tmp_path / "classes"),
        ("AutoModelForCausalLM", tmp_path / "speech"),
    )
    assert named["labels"] == list(LABELS)
    classes = torch.as_tensor(tiny_models.texts().take(FIRST).labels)
    expected = cross_entropy(torch.tensor(named["logits"]), classes, reduction="none")
    torch.testing.assert_close(losses(classifier).cpu(), expected, atol=1e-4, rtol=1e-4)
    words = speaker.encode(tiny_models.texts(), FIRST).tensors["labels"][:, 1:]
    logits = torch.tensor(spoken["logits"])[:, :-1].transpose(1, 2)
    counted = (words != -100).sum(1)
    expected = cross_entropy(logits, words, reduction="none").sum(1) / counted
    torch.testing.assert_close(losses(speaker).cpu(), expected, atol=1e-4, rtol=1e-4)


def test_the_same_adapter_gives_the_same_bytes(bert: Path, tmp_path: Path) -> None:
    names = ["adapter_config.json", "adapter_model.safetensors", "config.json"]
    for folder in ("one", "two"):
        trained(bert, CLASSIFY, LABELS).save_adapter(tmp_path / folder)
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("uri", "named"),
    [("hf://owner/name", "owner/name"), ("s3://bucket/models/m", "s3://bucket/models/m")],
)
def test_the_base_model_is_named_by_where_it_can_be_found(
    bert: Path, tmp_path: Path, uri: str, named: str
) -> None:
    job = tiny_models.job(bert, CLASSIFY, model={"uri": uri, "task": CLASSIFY})
    load_model(job, bert, LABELS).save_adapter(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == named


def test_another_adapter_takes_the_place_for_a_while(bert: Path, tmp_path: Path) -> None:
    """Whatever its rank; afterwards model, mode, gradients and random numbers are as before."""
    other = trained(bert, CLASSIFY, LABELS, adapter={"lora": {"rank": 3, "alpha": 5}})
    other.save_adapter(tmp_path)
    model = load_model(tiny_models.job(bert, CLASSIFY), bert, LABELS)
    model.train(False)
    before, digest = losses(model), model.trainables_digest()
    model.train()
    torch.manual_seed(8)
    with model.with_adapter(tmp_path):
        model.train(False)
        torch.testing.assert_close(losses(model), losses(other))
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(8)))
    assert model.is_training
    model.train(False)
    assert torch.equal(losses(model), before)
    assert model.trainables_digest() == digest
    assert all(parameter.requires_grad for _, parameter in model.trainables())
    assert set(model.update_ratios()) == set(other.update_ratios())


def test_an_adapter_that_is_damaged_or_foreign_is_refused(
    bert: Path, llama: Path, tmp_path: Path
) -> None:
    model = load_model(tiny_models.job(bert, CLASSIFY), bert, LABELS)
    model.train(False)
    before = losses(model)
    good = tmp_path / "good"
    model.save_adapter(good)
    weights = (good / "adapter_model.safetensors").read_bytes()
    three = load_model(tiny_models.job(bert, CLASSIFY), bert, (*LABELS, "third"))
    three.save_adapter(tmp_path / "classes")
    trained(llama, "CausalLM", ()).save_adapter(tmp_path / "foreign")
    trained(bert, "MaskedLM", ()).save_adapter(tmp_path / "headless")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/adapter_config.json").write_text((good / "adapter_config.json").read_text())
    (tmp_path / "torn/adapter_model.safetensors").write_bytes(weights[:-40])
    for name in ("classes", "foreign", "headless", "torn", "absent"):
        with pytest.raises(ModelError, match=name), model.with_adapter(tmp_path / name):
            pytest.fail("the adapter was accepted")
        assert torch.equal(losses(model), before)
