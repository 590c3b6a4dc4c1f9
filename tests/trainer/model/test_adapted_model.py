"""The adapted model as methods see it: tensors, losses, digests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from haversack_trainer.data import Samples
from haversack_trainer.model import FineTuned, ModelError, load_model

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
DIGITS = Samples(
    tuple(np.random.default_rng(0).random((6, 8, 8), np.float32)),
    LABELS,
    np.array([0, 1, 0, 1, 0, 1]),
)
FIRST = np.arange(6)


@pytest.fixture(scope="module")
def classifier(bert: Path) -> FineTuned:
    return load_model(tiny_models.job(bert, CLASSIFY), bert, LABELS)


def all_models(bert: Path, llama: Path, vit: Path) -> list[tuple[FineTuned, Samples]]:
    cases = (
        (bert, CLASSIFY, LABELS),
        (bert, "MaskedLM", ()),
        (llama, "CausalLM", ()),
        (llama, CLASSIFY, LABELS),
        (vit, "ImageClassification", LABELS),
    )
    return [
        (
            load_model(tiny_models.job(p, task), p, labels),
            DIGITS if p == vit else tiny_models.texts(),
        )
        for p, task, labels in cases
    ]


def step(model: FineTuned, samples: Samples, times: int = 1, rate: float = 0.05) -> None:
    """Plain gradient descent on the first six samples."""
    batch = model.encode(samples, FIRST)
    for _ in range(times):
        model.loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        with torch.no_grad():
            for _name, parameter in model.trainables():
                assert parameter.grad is not None
                parameter.sub_(rate * parameter.grad)
                parameter.grad = None


def test_every_task_learns_and_only_in_its_trainables(bert: Path, llama: Path, vit: Path) -> None:
    for model, samples in all_models(bert, llama, vit):
        model.train(False)
        batch, frozen = model.encode(samples, FIRST), model.base_digest()
        first = float(model.loss(batch).detach())
        with torch.no_grad(), model.without_adapter():
            base = float(model.loss(batch))
        assert base == pytest.approx(first, abs=1e-6)  # B is zero, the head a copy
        step(model, samples, times=8)
        assert float(model.loss(batch).detach()) < first
        with torch.no_grad(), model.without_adapter():
            assert float(model.loss(batch)) == base
        assert model.base_digest() == frozen


def test_the_batch_loss_is_the_mean_of_each_sample_alone(
    bert: Path, llama: Path, vit: Path
) -> None:
    for model, samples in all_models(bert, llama, vit):
        model.train(False)
        with torch.no_grad():
            whole = model.losses(model.encode(samples, FIRST))[0]
            alone = [model.losses(model.encode(samples, FIRST[[i]]))[0][0] for i in FIRST]
            mean = model.loss(model.encode(samples, FIRST))
        assert whole.dtype == torch.float32
        torch.testing.assert_close(whole, torch.stack(alone), atol=1e-4, rtol=1e-4)
        assert float(mean) == pytest.approx(float(whole.mean()), abs=1e-6)


def test_classes_report_hits_and_language_models_do_not(bert: Path, llama: Path, vit: Path) -> None:
    for model, samples in all_models(bert, llama, vit):
        with torch.no_grad():
            losses, hits = model.losses(model.encode(samples, FIRST))
        if not model.head_is_new:
            assert hits is None
            continue
        assert hits is not None
        assert hits.dtype == torch.bool
        # With two classes a hit is a loss below log 2.
        assert torch.equal(hits, losses < np.log(2))


def test_two_machines_start_from_the_same_bytes_and_another_seed_from_others(bert: Path) -> None:
    def load(seed: int) -> FineTuned:
        torch.manual_seed(torch.seed() % 1000)  # whatever the process did before
        return load_model(tiny_models.job(bert, CLASSIFY, training={"seed": seed}), bert, LABELS)

    one, two, other = load(5), load(5), load(6)
    assert one.trainables_digest() == two.trainables_digest()
    assert one.trainables_digest() != other.trainables_digest()
    assert one.base_digest() == two.base_digest() == other.base_digest()
    assert one.adapter_text() == other.adapter_text()


def test_loading_leaves_the_process_random_numbers_alone(bert: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    load_model(tiny_models.job(bert, CLASSIFY), bert, LABELS)
    assert torch.equal(torch.rand(4), wanted)


def test_digests_see_a_changed_weight(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"][0, 0] += 1e-6
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    job = tiny_models.job(bert, CLASSIFY)
    digests = {load_model(job, path, LABELS).base_digest() for path in (bert, tmp_path)}
    assert len(digests) == 2


def test_trainables_are_the_factors_and_the_head_in_canonical_order(
    classifier: FineTuned,
) -> None:
    names = [name for name, _ in classifier.trainables()]
    assert names == sorted(names)
    assert {name.rpartition("encoder.")[2] for name in names} >= {
        "layer.0.attention.self.query.lora_A.weight",
        "layer.1.attention.self.value.lora_B.weight",
        "base_model.model.classifier.weight",
    }
    assert all(parameter.dtype == torch.float32 for _, parameter in classifier.trainables())
    assert list(classifier.trainable_state()) == names


def test_state_is_a_copy_and_comes_back(classifier: FineTuned) -> None:
    before, digest = classifier.trainable_state(), classifier.trainables_digest()
    step(classifier, tiny_models.texts())
    assert classifier.trainables_digest() != digest
    classifier.load_trainable_state(before)
    assert classifier.trainables_digest() == digest


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(
    classifier: FineTuned,
) -> None:
    digest, state = classifier.trainables_digest(), classifier.trainable_state()
    head = "base_model.model.classifier.weight"
    cases = [
        ({k: v for k, v in state.items() if k != head}, "1 tensors are missing"),
        (state | {"extra": torch.zeros(1)}, "1 are unknown, e.g. extra"),
        ({k: v + 1 for k, v in state.items()} | {head: torch.zeros(3, 16)}, r"shape \[3, 16\]"),
    ]
    for broken, message in cases:
        with pytest.raises(ModelError, match=message):
            classifier.load_trainable_state(broken)
        assert classifier.trainables_digest() == digest


def test_lora_dropout_acts_in_training_only(bert: Path) -> None:
    job = tiny_models.job(bert, CLASSIFY, adapter={"lora": {"dropout": "0.5"}})
    model = load_model(job, bert, LABELS)
    step(model, tiny_models.texts(), times=3, rate=1.0)
    batch = model.encode(tiny_models.texts(), FIRST)

    def spread(mode: bool) -> float:
        model.train(mode)
        with torch.no_grad():
            return float(torch.stack([model.loss(batch) for _ in range(5)]).std())

    assert spread(False) < 1e-7
    assert spread(True) > 1e-4


def test_masks_depend_on_seed_and_sample_only(bert: Path) -> None:
    def encode(seed: int, indices: list[int]) -> dict[str, torch.Tensor]:
        model = load_model(tiny_models.job(bert, "MaskedLM", training={"seed": seed}), bert, ())
        return dict(model.encode(tiny_models.texts(), np.array(indices)).tensors)

    one, again, other = encode(1, [3, 4]), encode(1, [4]), encode(2, [3, 4])
    length = again["input_ids"].shape[1]
    assert torch.equal(one["labels"][1, :length], again["labels"][0])
    assert torch.equal(one["input_ids"][1, :length], again["input_ids"][0])
    assert not torch.equal(one["labels"], other["labels"])
    guessed = (one["labels"] != -100).sum(1)
    assert guessed.min() >= 1
    assert (guessed <= np.ceil(0.2 * length)).all()


def test_update_ratios_grow_with_the_update(classifier: FineTuned) -> None:
    state = classifier.trainable_state()
    assert set(classifier.update_ratios().values()) == {0.0}
    classifier.load_trainable_state({n: torch.ones_like(v) for n, v in state.items()})
    small = classifier.update_ratios()
    classifier.load_trainable_state({n: 10 * torch.ones_like(v) for n, v in state.items()})
    large = classifier.update_ratios()
    classifier.load_trainable_state(state)
    assert len(small) == 4
    assert all(large[name] == pytest.approx(100 * small[name], rel=1e-4) for name in small)


def test_features_ignore_padding_and_are_the_bases_without_the_adapter(
    classifier: FineTuned,
) -> None:
    samples, state = tiny_models.texts(), classifier.trainable_state()
    classifier.train(False)
    together = classifier.features(classifier.encode(samples, FIRST))
    classifier.load_trainable_state({n: v + 1 for n, v in state.items()})
    with classifier.without_adapter():
        alone = classifier.features(classifier.encode(samples, FIRST[[2]]))
    assert not torch.allclose(alone[0], classifier.features(classifier.encode(samples, FIRST))[2])
    classifier.load_trainable_state(state)
    assert together.shape == (6, tiny_models.WIDTH)
    torch.testing.assert_close(together[2], alone[0], atol=1e-5, rtol=1e-4)
