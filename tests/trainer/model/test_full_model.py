"""A model all of whose weights are trained: the same interface, published as a plain model folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from haversack_trainer.data import Samples
from haversack_trainer.model import FineTuned, ModelError, load_model

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
FIRST = np.arange(6)
FULL = {"type": "Full"}

FRESH = """
import json, sys, torch, transformers
text, answers = sys.argv[1], []
for folder, auto in json.loads(sys.argv[2]):
    model = getattr(transformers, auto).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer([text], return_tensors="pt")).logits
    answers.append([logits.tolist(), list(model.config.id2label.values()), model.config.use_cache])
print(json.dumps(answers))
"""


def load(path: Path, task: str = CLASSIFY, **changes: Any) -> FineTuned:
    labels = LABELS if task.endswith("Classification") else ()
    model = load_model(tiny_models.job(path, task, adapter=FULL, **changes), path, labels)
    model.train(False)
    return model


def shaken(model: FineTuned) -> FineTuned:
    """Every weight a little off."""
    generator = torch.Generator().manual_seed(0)
    state = model.trainable_state()
    model.load_trainable_state(
        {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in state.items()}
    )
    return model


def losses(model: FineTuned, samples: Samples | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.losses(model.encode(samples or tiny_models.texts(), FIRST))[0]


@pytest.fixture
def classifier(bert: Path) -> FineTuned:
    return load(bert)


def test_every_weight_is_trained_once_in_fp32(llama: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tied = Path(shutil.copytree(llama, tmp_path / "tied"))
    config = LlamaConfig.from_pretrained(llama, tie_word_embeddings=True)
    LlamaForCausalLM(config).bfloat16().save_pretrained(tied)
    for folder, shared in ((llama, False), (tied, True)):
        trainables = load(folder, "CausalLM").trainables()
        names = [name for name, _ in trainables]
        assert names == sorted(names)
        assert "model.layers.0.self_attn.q_proj.weight" in names
        assert ("lm_head.weight" in names) is not shared
        assert len({parameter.data_ptr() for _, parameter in trainables}) == len(names)
        assert all(p.dtype == torch.float32 and p.requires_grad for _, p in trainables)


def test_it_has_the_base_digest_of_the_same_model_with_lora(bert: Path, llama: Path) -> None:
    for path, task in ((bert, CLASSIFY), (llama, "CausalLM"), (llama, CLASSIFY)):
        labels = LABELS if task == CLASSIFY else ()
        lora = load_model(tiny_models.job(path, task), path, labels)
        full = load(path, task)
        assert full.base_digest() == lora.base_digest()
        shaken(full)
        assert full.base_digest() == lora.base_digest()
        assert full.adapter_text() != lora.adapter_text()


def test_two_machines_start_from_the_same_bytes(bert: Path) -> None:
    one, two, other = load(bert), load(bert), load(bert, training={"seed": 5})
    assert one.trainables_digest() == two.trainables_digest() != other.trainables_digest()


def test_the_base_stands_in_for_a_while(classifier: FineTuned) -> None:
    base = losses(classifier)
    after, digest = losses(shaken(classifier)), classifier.trainables_digest()
    assert not torch.allclose(base, after)
    with classifier.without_adapter():
        assert torch.equal(losses(classifier), base)
    assert classifier.trainables_digest() == digest
    assert torch.equal(losses(classifier), after)


def test_its_own_dropout_is_off_where_losses_are_compared(classifier: FineTuned) -> None:
    batch = classifier.encode(tiny_models.texts(), FIRST)

    def spread(mode: bool) -> float:
        classifier.train(mode)
        with torch.no_grad():
            return float(torch.stack([classifier.loss(batch) for _ in range(5)]).std())

    assert spread(False) == 0
    assert spread(True) > 0


def test_anybody_loads_what_is_published(bert: Path, llama: Path, tmp_path: Path) -> None:
    text = tiny_models.texts().inputs[0]
    models: list[Any] = [shaken(load(bert)), shaken(load(llama, "CausalLM"))]
    autos = ("AutoModelForSequenceClassification", "AutoModelForCausalLM")
    for model, auto in zip(models, autos, strict=True):
        model.save_adapter(tmp_path / auto)
    folders = json.dumps([(str(tmp_path / auto), auto) for auto in autos])
    command = [sys.executable, "-c", FRESH, text, folders]
    ended = subprocess.run(command, check=True, capture_output=True, timeout=110)
    answers = json.loads(ended.stdout.splitlines()[-1])
    for model, (logits, _, use_cache) in zip(models, answers, strict=True):
        tokens = model._head.tokens([text])
        with torch.no_grad():
            expected = model._model(**{n: t.to(model.device) for n, t in tokens.items()}).logits
        torch.testing.assert_close(torch.tensor(logits), expected.cpu(), atol=1e-4, rtol=1e-4)
        assert use_cache
    assert answers[0][1] == list(LABELS)


def test_the_same_weights_give_the_same_bytes(bert: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bert, tmp_path / "elsewhere"))
    shaken(load(bert)).save_adapter(tmp_path / "one")
    shaken(load(copy)).save_adapter(tmp_path / "two")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)
    assert names == sorted(file.name for file in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_published_model_takes_the_place_for_a_while(
    classifier: FineTuned, bert: Path, tmp_path: Path
) -> None:
    other = shaken(load(bert))
    other.save_adapter(tmp_path)
    before, digest = losses(classifier), classifier.trainables_digest()
    with classifier.with_adapter(tmp_path):
        assert torch.equal(losses(classifier), losses(other))
    assert classifier.trainables_digest() == digest
    assert torch.equal(losses(classifier), before)


def test_what_is_no_such_model_is_refused(
    classifier: FineTuned, bert: Path, llama: Path, tmp_path: Path
) -> None:
    three = load_model(tiny_models.job(bert, CLASSIFY, adapter=FULL), bert, (*LABELS, "third"))
    three.save_adapter(tmp_path / "classes")
    load(llama, CLASSIFY).save_adapter(tmp_path / "foreign")
    load_model(tiny_models.job(bert, CLASSIFY), bert, LABELS).save_adapter(tmp_path / "lora")
    classifier.save_adapter(tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    digest = classifier.trainables_digest()
    for name in ("classes", "foreign", "lora", "torn", "absent"):
        with pytest.raises(ModelError, match=name), classifier.with_adapter(tmp_path / name):
            pytest.fail("the model was accepted")
        assert classifier.trainables_digest() == digest


def test_update_ratios_grow_with_the_update(classifier: FineTuned) -> None:
    assert set(classifier.update_ratios().values()) == {0.0}
    state = classifier.trainable_state()
    classifier.load_trainable_state({n: 3 * v for n, v in state.items()})
    ratios = classifier.update_ratios()
    assert not any(name.startswith("classifier") for name in ratios)
    assert "bert.encoder.layer.0.attention.self.query.weight" in ratios
    assert all(ratio == pytest.approx(2, rel=1e-4) for ratio in ratios.values())


def test_statistics_that_change_in_passing_are_refused(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic"
    )
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text()) | {"image_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(ModelError, match=r"running statistics .* adapter\.type LoRA"):
        load(tmp_path, "ImageClassification")
