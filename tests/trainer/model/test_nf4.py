"""A frozen base in four bits: its numbers, its memory, and what is trained on it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from haversack_trainer.model import FineTuned, load_model
from haversack_trainer.model.nf4 import BLOCK, LEVELS, Nf4Linear, pack, unpack

LABELS = ("parsing", "paths")
CLASSIFY = "SequenceClassification"
FIRST = np.arange(6)
WIDEST_GAP = max(b - a for a, b in pairwise(LEVELS))


def load(path: Path, task: str, quantization: str = "NF4") -> FineTuned:
    labels = LABELS if task == CLASSIFY else ()
    model = {"uri": f"file://{path}", "task": task, "quantization": quantization}
    loaded = load_model(tiny_models.job(path, task, model=model), path, labels)
    loaded.train(False)
    return loaded


@given(
    arrays(np.float32, (2, BLOCK), elements=st.floats(-1000, 1000, width=32)),
)
@settings(deadline=None)
def test_a_weight_becomes_the_nearest_level_of_its_block(weights: Any) -> None:
    original = torch.from_numpy(weights)
    codes, scales = pack(original)
    assert (codes.dtype, codes.numel(), scales.numel()) == (torch.uint8, BLOCK, 2)
    again = unpack(codes, scales, (2, BLOCK))
    largest = original.abs().amax(1, keepdim=True)
    every = largest[:, :, None] * torch.tensor(LEVELS)
    nearest = (original[:, :, None] - every).abs().amin(2)
    torch.testing.assert_close((original - again).abs(), nearest, rtol=1e-4, atol=1e-4)
    assert ((original - again).abs() <= largest * WIDEST_GAP / 2 * 1.0001 + 1e-6).all()


def test_levels_come_back_as_they_were_and_zeros_are_zeros() -> None:
    weights = torch.tensor(LEVELS).repeat(4) * 3.5
    codes, scales = pack(torch.stack([weights, torch.zeros(BLOCK)]))
    assert scales.tolist() == [3.5, 0.0]
    assert [f"{code:02x}" for code in codes[:8].tolist()] == [
        "01",
        "23",
        "45",
        "67",
        "89",
        "ab",
        "cd",
        "ef",
    ]
    again = unpack(codes, scales, (2, BLOCK))
    assert torch.equal(again, torch.stack([weights, torch.zeros(BLOCK)]))


def test_a_layer_computes_with_the_unpacked_weights_both_ways() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 32)
    packed = Nf4Linear(linear)
    dense = nn.Linear(48, 32)
    dense.load_state_dict({"weight": packed.weight, "bias": linear.bias})
    one = torch.randn(5, 48, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    assert torch.equal(packed(one), dense(two))
    packed(one).square().sum().backward()
    dense(two).square().sum().backward()
    assert one.grad is not None
    torch.testing.assert_close(one.grad, two.grad)
    held = sum(tensor.numel() * tensor.element_size() for tensor in packed.state_dict().values())
    assert held == 32 * 48 * (0.5 + 4 / BLOCK) + 32 * 4


def test_the_base_is_packed_and_heads_and_trainables_are_not(bert: Path, llama: Path) -> None:
    for path, task in ((bert, CLASSIFY), (bert, "MaskedLM"), (llama, "CausalLM")):
        model: Any = load(path, task)
        packed = [n for n, m in model._model.named_modules() if isinstance(m, Nf4Linear)]
        plain = [n for n, m in model._model.named_modules() if type(m) is nn.Linear]
        assert len(packed) >= 12
        spared = ("lora_", "classifier", "pooler", "decoder", "lm_head")
        assert [name for name in plain if not any(part in name for part in spared)] == []
        assert all(p.dtype == torch.float32 for _, p in model.trainables())


def test_its_losses_are_near_the_originals_and_it_learns(llama: Path, bert: Path) -> None:
    for path, task in ((bert, CLASSIFY), (llama, "CausalLM")):
        model, original = load(path, task), load(path, task, "None")
        batch = model.encode(tiny_models.texts(), FIRST)
        with torch.no_grad():
            first, exact = float(model.loss(batch)), float(original.loss(batch))
        assert first != exact
        assert first == pytest.approx(exact, abs=0.05)
        optimizer = torch.optim.AdamW([p for _, p in model.trainables()], lr=0.02)
        for _ in range(6):
            optimizer.zero_grad()
            model.loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
        with torch.no_grad():
            assert float(model.loss(batch)) < first
            with model.without_adapter():
                assert float(model.loss(batch)) == pytest.approx(first, abs=1e-6)
        assert all(0 <= ratio < 100 for ratio in model.update_ratios().values())


def test_many_points_in_a_pass_give_each_its_own_losses(bert: Path) -> None:
    model = load(bert, CLASSIFY)
    batch = model.encode(tiny_models.texts(), FIRST)
    parameters = [parameter for _, parameter in model.trainables()]
    flat = nn.utils.parameters_to_vector(parameters).detach()
    points = torch.stack([flat, flat + 0.05])
    together = model.losses_at(points, batch)
    for point, losses in zip(points, together, strict=True):
        nn.utils.vector_to_parameters(point, parameters)
        with torch.no_grad():
            torch.testing.assert_close(model.sample_losses(batch), losses, atol=1e-5, rtol=1e-4)


def test_peers_with_and_without_four_bits_are_told_apart(bert: Path) -> None:
    packed, plain = load(bert, CLASSIFY), load(bert, CLASSIFY, "None")
    assert packed.base_digest() == f"{plain.base_digest()} NF4"
    assert packed.trainables_digest() == plain.trainables_digest()


def test_an_adapter_goes_from_one_to_the_other(bert: Path, tmp_path: Path) -> None:
    packed, plain = load(bert, CLASSIFY), load(bert, CLASSIFY, "None")
    state = packed.trainable_state()
    packed.load_trainable_state({name: value + 0.1 for name, value in state.items()})
    packed.save_adapter(tmp_path)
    batch = plain.encode(tiny_models.texts(), FIRST)
    with torch.no_grad(), plain.with_adapter(tmp_path):
        assert float(plain.loss(batch)) == pytest.approx(float(packed.loss(batch)), abs=0.05)
    with packed.with_adapter(tmp_path):
        pass
