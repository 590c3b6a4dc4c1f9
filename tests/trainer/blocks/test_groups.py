"""Groups of families that the code does not know by name."""

from __future__ import annotations

from itertools import pairwise

import pytest
import stacks
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from haversack_trainer.blocks import BlocksError, Groups, find_groups
from haversack_trainer.blocks.cuts import cut

QKV = ("q_proj", "k_proj", "v_proj")
ROWS = {
    "llama": (QKV, ("gate_proj", "up_proj")),
    "qwen2": (QKV, ("gate_proj", "up_proj")),
    "gemma2": (QKV, ("gate_proj", "up_proj")),
    "mixtral": (QKV, ()),
    "qwen2-moe": (QKV, ("gate_proj", "up_proj"), ()),
    "gpt2": (("c_attn",), ("c_fc",)),
    "roberta": (("query", "key", "value"), ("dense",)),
    "deberta-v2": (
        ("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj"),
        ("dense",),
    ),
    "vit": (QKV, ("fc1",)),
}
GROUPED = ("llama", "qwen2", "gemma2", "mixtral", "qwen2-moe")


@pytest.mark.parametrize("family", stacks.FAMILIES)
def test_a_familys_groups_are_its_key_value_heads(family: str) -> None:
    groups = find_groups(stacks.network(family))
    heads = 2 if family in GROUPED else 4
    assert (len(groups), groups.num_groups) == (stacks.NUM_LAYERS, heads)
    for parts in groups.parts:
        found = tuple(tuple(row.name.rpartition(".")[2] for row in part.rows) for part in parts)
        assert found == ROWS[family]
        assert all(len(set(part.widths)) == 1 for part in parts)
        assert parts[0].bounds[-1] == 16
    assert groups.costs == ((1.0,) * heads,) * stacks.NUM_LAYERS


def test_a_divisor_of_the_heads_may_be_asked_for() -> None:
    model = stacks.network("gpt2")
    assert find_groups(model, 2).parts[0][0].bounds == (0, 8, 16)
    with pytest.raises(BlocksError, match=r"GPT2Config's 4 .* into 3 groups.*: 1, 2, 4"):
        find_groups(model, 3)


def test_a_short_slice_costs_less() -> None:
    model = stacks.network("llama", sizes={"intermediate_size": 31})
    groups = find_groups(model)
    assert groups.parts[0][1].bounds == (0, 16, 31)
    # 768 weights of attention, 3 * 16 for each unit of the feed-forward width
    attention, unit = 16 * 16 * 3 // 2, 3 * 16
    mean = attention + 15.5 * unit
    expected = ((attention + 16 * unit) / mean, (attention + 15 * unit) / mean)
    assert groups.costs[0] == pytest.approx(expected)


@given(st.integers(1, 400), st.integers(1, 40))
def test_slices_cover_the_width_and_only_the_last_is_short(width: int, count: int) -> None:
    if width < count:
        return
    bounds = cut(width, count)
    widths = [b - a for a, b in pairwise(bounds)]
    assert (len(widths), sum(widths), bounds[0]) == (count, width, 0)
    assert min(widths) > 0
    assert len(set(widths[:-1])) <= 1 or max(widths) - min(widths) == 1


def test_experts_are_shared_out_whole() -> None:
    parts = find_groups(stacks.network("qwen2-moe")).parts[0]
    assert [part.is_experts for part in parts] == [False, False, True]
    assert parts[2].bounds == (0, 2, 4)


class Lone(nn.Module):
    """A layer whose experts are modules of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.ModuleDict({"o_proj": nn.Linear(4, 4)})
        self.mlp = nn.ModuleDict(
            {"experts": nn.ModuleList(nn.ModuleDict({"fc2": nn.Linear(4, 4)}) for _ in range(2))}
        )


class Headed(nn.Module):
    def __init__(self, layer: type[nn.Module], **config: int) -> None:
        super().__init__()
        self.config = type("HeadedConfig", (), config)()
        self.layers = nn.ModuleList(layer() for _ in range(2))


def test_what_cannot_be_cut_is_refused_by_its_class() -> None:
    with pytest.raises(BlocksError, match="the experts of Lone are modules of their own"):
        find_groups(Headed(Lone, num_attention_heads=2))
    with pytest.raises(BlocksError, match="HeadedConfig names no number of heads"):
        find_groups(Headed(Lone))
    few = {"num_local_experts": 2, "num_key_value_heads": 4}
    with pytest.raises(BlocksError, match=r"MixtralDecoderLayer's 2 experts.*4 groups"):
        find_groups(stacks.network("mixtral", sizes=few))
    found = find_groups(stacks.network("vit"), 1)
    assert isinstance(found, Groups)
    assert found.num_groups == 1


def test_neighbours_are_one_run() -> None:
    attention, forward = find_groups(stacks.network("gpt2")).parts[0]
    assert attention.columns([0, 1, 3]) == (slice(0, 8), slice(12, 16))
    fused = attention.outputs(attention.rows[0], 48, [0, 3])
    assert fused == (slice(0, 4), slice(12, 20), slice(28, 36), slice(44, 48))
    assert forward.outputs(forward.rows[0], 64, [1, 2]) == (slice(16, 48),)
    assert forward.columns([]) == ()
