"""Scores of groups against what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import stacks
import torch
from stacks import NUM_LAYERS, gradients
from torch import Tensor, nn

from haversack_trainer.blocks import GroupExecutor, Groups, Op, find_groups
from haversack_trainer.blocks.linear import base_of, weight_of
from haversack_trainer.blocks.scores import fisher, gated, magnitude
from haversack_trainer.model.nf4 import Nf4Linear


def outputs(groups: Groups, layer: int, group: int) -> Iterator[Tensor]:
    """Views of all weights that carry what the group gives: scaled alike, they are its gate."""
    for part in groups.parts[layer]:
        where = slice(part.bounds[group], part.bounds[group + 1])
        if part.is_experts:
            yield base_of(part.module).down_proj.data[where]
            continue
        yield weight_of(base_of(part.module)).data[:, where]
        yield part.module.lora_A["default"].weight.data[:, where]  # type: ignore[index, union-attr]


@contextmanager
def scaled(groups: Groups, layer: int, group: int, factor: float) -> Iterator[None]:
    for view in outputs(groups, layer, group):
        view.mul_(factor)
    yield
    for view in outputs(groups, layer, group):
        view.div_(factor)


@pytest.mark.parametrize("family", ["llama", "gpt2", "deberta-v2", "qwen2-moe"])
def test_a_gates_score_is_the_losss_slope(family: str) -> None:
    model = stacks.network(family)
    groups, step = find_groups(model), 2**-6
    with gated(groups) as gates:
        stacks.loss(model).backward()  # type: ignore[no-untyped-call]
    slopes = np.zeros((NUM_LAYERS, groups.num_groups))
    for layer, group in np.ndindex(*slopes.shape):
        ends = []
        for factor in (1 + step, 1 - step):
            with scaled(groups, layer, group, factor), torch.no_grad():
                ends.append(stacks.loss(model).item())
        slopes[layer, group] = (ends[0] - ends[1]) / (2 * step)
    found = gates.scores()
    assert found.min() > 0
    np.testing.assert_allclose(found, np.abs(slopes), rtol=0.02, atol=0.003 * found.max())


def test_gates_leave_the_model_as_it_was_and_tell_of_full_groups_under_a_table() -> None:
    model = stacks.network("vit")
    groups, plain = find_groups(model), gradients(model)
    table = [[Op.FULL, Op.FORWARD, Op.SKIP, Op.FULL]] * NUM_LAYERS
    with GroupExecutor(groups).under(table), gated(groups) as gates:
        gradients(model)
    found = gates.scores() > 0
    assert (found == np.array([[op is Op.FULL for op in ops] for ops in table])).all()
    assert stacks.same(gradients(model), plain)


def by_hand(model: Any, of_map: Any) -> np.ndarray[Any, Any]:
    """Over Llama's layers, two groups of two query heads and one key-value head of 4 each."""
    table = np.zeros((NUM_LAYERS, 2))
    for layer, module in enumerate(find_groups(model).layers.modules):
        for name, rows, width in [
            ("self_attn.q_proj", True, 8),
            ("self_attn.k_proj", True, 4),
            ("self_attn.v_proj", True, 4),
            ("self_attn.o_proj", False, 8),
            ("mlp.gate_proj", True, 16),
            ("mlp.up_proj", True, 16),
            ("mlp.down_proj", False, 16),
        ]:
            for group in range(2):
                where = slice(group * width, (group + 1) * width)
                table[layer, group] += of_map(module.get_submodule(name), rows, where)
    return table


def test_magnitude_is_of_the_adapted_weights() -> None:
    model = stacks.network("llama")

    def total(module: Any, rows: bool, where: slice) -> float:
        whole = (module.base_layer.weight + module.get_delta_weight("default")).detach()
        return float((whole[where] if rows else whole[:, where]).abs().sum())

    np.testing.assert_allclose(magnitude(find_groups(model)), by_hand(model, total), rtol=1e-5)


def test_fisher_is_over_the_groups_entries_of_the_adapter_where_the_base_is_frozen() -> None:
    model = stacks.network("llama")
    gradients(model)

    def total(module: Any, rows: bool, where: slice) -> float:
        factor = module.lora_B["default"] if rows else module.lora_A["default"]
        gradient = factor.weight.grad
        return float((gradient[where] if rows else gradient[:, where]).square().sum())

    np.testing.assert_allclose(fisher(find_groups(model)), by_hand(model, total), rtol=1e-5)


def test_fisher_is_over_the_weights_where_they_are_trained() -> None:
    model = stacks.network("llama").get_base_model()  # type: ignore[operator]
    model.requires_grad_(True)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(False)
    gradients(model, plain_loss)

    def total(module: Any, rows: bool, where: slice) -> float:
        gradient = module.base_layer.weight.grad
        return float((gradient[where] if rows else gradient[:, where]).square().sum())

    np.testing.assert_allclose(fisher(find_groups(model)), by_hand(model, total), rtol=1e-5)


def plain_loss(model: Any) -> Tensor:
    logits: Tensor = model(input_ids=torch.arange(3, 11)[None]).logits
    return logits.square().mean()


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "deberta-v2", "vit"])
def test_every_weight_of_a_layers_maps_belongs_to_one_group(family: str) -> None:
    model = stacks.network(family)
    groups = find_groups(model)
    whole = 0.0
    for parts in groups.parts:
        for part in parts:
            if part.is_experts:
                whole += sum(float(p.abs().sum()) for p in base_of(part.module).parameters())
                continue
            for module in (part.module, *(rows.module for rows in part.rows)):
                weight = weight_of(base_of(module)) + delta(module, family)
                whole += float(weight.abs().sum())
    assert magnitude(groups).sum() == pytest.approx(whole, rel=1e-5)


def delta(module: Any, family: str) -> Tensor:
    found: Tensor = module.get_delta_weight("default").detach()
    return found.T if family == "gpt2" else found


def test_a_base_in_four_bits_has_scores_too() -> None:
    model = stacks.network("llama", sizes={"hidden_size": 64, "intermediate_size": 64})
    for module in model.modules():
        if isinstance(base := getattr(module, "base_layer", None), nn.Linear):
            module.base_layer = Nf4Linear(base)
    groups = find_groups(model)
    gradients(model)
    assert magnitude(groups).min() > 0
    assert fisher(groups).min() > 0
