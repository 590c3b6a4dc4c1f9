"""Layers and projections of families that the code does not know by name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import stacks
from torch import nn

from haversack_trainer.blocks import BlocksError, Projections, find_layers, find_projections
from haversack_trainer.blocks.layers import structural_layers

PROJECTIONS = {
    "llama": Projections("self_attn.o_proj", "mlp.down_proj"),
    "qwen2": Projections("self_attn.o_proj", "mlp.down_proj"),
    "gemma2": Projections("self_attn.o_proj", "mlp.down_proj"),
    "mixtral": Projections("self_attn.o_proj", "mlp.experts"),
    "qwen2-moe": Projections("self_attn.o_proj", "mlp.shared_expert.down_proj"),
    "gpt2": Projections("attn.c_proj", "mlp.c_proj"),
    "roberta": Projections("attention.output.dense", "output.dense"),
    "deberta-v2": Projections("attention.output.dense", "output.dense"),
    "vit": Projections("attention.o_proj", "mlp.fc2"),
}


@pytest.mark.parametrize("family", stacks.FAMILIES)
def test_layers_and_projections_of_a_family(family: str) -> None:
    model = stacks.network(family)
    layers = find_layers(model)
    assert len(layers) == stacks.NUM_LAYERS
    assert len({type(module) for module in layers.modules}) == 1
    assert layers.structural == (frozenset({0}) if family == "deberta-v2" else frozenset())
    assert {find_projections(module) for module in layers.modules} == {PROJECTIONS[family]}


@pytest.mark.parametrize("family", stacks.FAMILIES)
def test_every_adapted_tensor_belongs_to_its_layer(family: str) -> None:
    model = stacks.network(family)
    layers = find_layers(model)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = layers.of_parameters(iter(trained))
    for name, layer in found.items():
        assert f"{layers.path}.{layer}." in name
    assert set(found.values()) == set(range(stacks.NUM_LAYERS))
    assert all(f"{layers.path}." not in name for name, _ in trained if name not in found)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, set()),
        ({"conv_kernel_size": 0}, set()),
        ({"conv_kernel_size": 3}, {0}),
        ({"num_kv_shared_layers": 2}, {3}),
        ({"num_kv_shared_layers": 2, "layer_types": list("aabaab")}, {2, 3}),
        ({"num_kv_shared_layers": 0, "layer_types": list("aabaab")}, set()),
        ({"altup_num_inputs": 4}, set(range(6))),
    ],
    ids=str,
)
def test_layers_that_others_read_from_are_structural(
    config: dict[str, object], expected: set[int]
) -> None:
    assert structural_layers(SimpleNamespace(**config), 6) == expected


def test_the_stack_with_the_most_parameters_is_taken_unless_another_is_named() -> None:
    small = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    large = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
    both = nn.ModuleDict({"small": small, "large": large})
    assert find_layers(both).path == "large"
    assert len(find_layers(both, "small")) == 4
    with pytest.raises(BlocksError, match=r"ModuleDict has no stack of layers at 'medium'.*small"):
        find_layers(both, "medium")


def test_a_model_without_a_stack_is_refused_by_its_class() -> None:
    mixed = nn.Sequential(nn.ModuleList([nn.Linear(2, 2), nn.ReLU()]), nn.Linear(2, 2))
    with pytest.raises(BlocksError, match="Sequential has no list of two or more layers"):
        find_layers(mixed)


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        (nn.ModuleDict({"fc2": nn.Linear(2, 2)}), "attention"),
        (nn.ModuleDict({"attn": nn.ModuleDict({"o_proj": nn.Linear(2, 2)})}), "feed-forward part"),
    ],
)
def test_a_layer_without_a_projection_is_refused_by_its_class(layer: nn.Module, part: str) -> None:
    with pytest.raises(BlocksError, match=f"ModuleDict's {part} cannot be found"):
        find_projections(layer)
