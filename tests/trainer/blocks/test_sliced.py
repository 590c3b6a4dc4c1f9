"""Groups that are cut out: the numbers of masks, in less memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import stacks
import torch
from stacks import NUM_LAYERS, gradients, same
from torch import Tensor, nn

from haversack_trainer.blocks import (
    BlocksError,
    GroupExecutor,
    GroupOps,
    Groups,
    Mode,
    Op,
    find_groups,
)
from haversack_trainer.model.nf4 import Nf4Linear

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP
SCALES = (1.5, 0.75, 2.0)


def tables(groups: Groups) -> list[GroupOps]:
    """All three operations in one layer, layers without one of them, a layer of nothing."""
    half = groups.num_groups // 2
    mixed = ([FULL, FORWARD, SKIP, FULL], [SKIP, FORWARD, FORWARD, FULL], [FULL, SKIP, SKIP, SKIP])
    return [
        [row[: groups.num_groups] for row in mixed],
        [[FORWARD] * 2 * half, [SKIP] * 2 * half, [SKIP, FULL] * half],
    ]


def assert_close(left: dict[str, Tensor | None], right: dict[str, Tensor | None]) -> None:
    """Absent and zero are the same."""
    assert left.keys() == right.keys()
    for name, a in left.items():
        b = right[name]
        if a is None or b is None:
            assert not any(g is not None and g.any() for g in (a, b)), name
        else:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
            least = max(1e-3 * float(a.abs().max()), 1e-8)  # of what cancels out, noise is left
            torch.testing.assert_close(a, b, rtol=1e-3, atol=least, msg=name)


def assert_modes_agree(model: nn.Module) -> None:
    groups = find_groups(model)
    masks, slices = GroupExecutor(groups), GroupExecutor(groups, Mode.SLICED)
    (mixed, other) = tables(groups)
    for table, scales in ((mixed, None), (other, None), (mixed, SCALES)):
        with masks.under(table, scales):
            expected = gradients(model)
        with slices.under(table, scales):
            found = gradients(model)
        assert_close(found, expected)
    assert slices.executed == masks.executed


@pytest.mark.parametrize("family", stacks.FAMILIES)
def test_slices_are_what_masks_say(family: str) -> None:
    model = stacks.network(family)
    plain = gradients(model)
    assert_modes_agree(model)
    groups = find_groups(model)
    with GroupExecutor(groups, Mode.SLICED).under([[FULL] * groups.num_groups] * NUM_LAYERS):
        assert same(gradients(model), plain)
    model.eval()
    whole = stacks.loss(model)
    with GroupExecutor(groups, Mode.SLICED).under([[SKIP] * groups.num_groups] * NUM_LAYERS):
        assert torch.equal(stacks.loss(model), whole)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("family", ["llama", "gpt2", "vit"])
def test_with_torchs_fused_attention(family: str) -> None:
    assert_modes_agree(stacks.network(family, attention="sdpa"))


@pytest.mark.parametrize("family", ["llama", "gpt2", "roberta"])
def test_where_all_weights_are_trained(family: str) -> None:
    assert_modes_agree(stacks.network(family).requires_grad_(True))


def test_over_a_base_in_four_bits() -> None:
    model = stacks.network("llama", sizes={"hidden_size": 64, "intermediate_size": 64})
    for module in model.modules():
        if isinstance(base := getattr(module, "base_layer", None), nn.Linear):
            module.base_layer = Nf4Linear(base)
    assert_modes_agree(model)


def test_a_short_last_slice() -> None:
    assert_modes_agree(stacks.network("llama", sizes={"intermediate_size": 31}))


def test_in_bf16_too() -> None:
    model = stacks.network("roberta").bfloat16()
    groups = find_groups(model)
    found = []
    for mode in Mode:
        with GroupExecutor(groups, mode).under(tables(groups)[0]):
            found.append(gradients(model)["loss"])
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=0)


@pytest.mark.parametrize("family", ["llama", "roberta", "mixtral"])
def test_checkpointing_changes_no_gradient(family: str) -> None:
    model, stored = stacks.network(family), stacks.network(family, checkpointing=True)
    found = []
    for each in (model, stored):
        groups = find_groups(each)
        run = GroupExecutor(groups, Mode.SLICED)
        with run.under(tables(groups)[0]):
            found.append(gradients(each))
        assert run.executed == Counter(op for row in tables(groups)[0] for op in row)
    assert same(*found)


def saved_bytes(model: nn.Module, table: GroupOps) -> int:
    """What autograd keeps but for weights."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    run = GroupExecutor(find_groups(model), Mode.SLICED)
    with run.under(table):
        gradients(model)  # whether it can be sliced is tried out once
        held = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
            stacks.loss(model).backward()  # type: ignore[no-untyped-call]
    return sum(size for pointer, size in sizes.items() if pointer not in held)


@pytest.mark.parametrize("family", ["gpt2", "roberta", "vit"])
@pytest.mark.parametrize("rest", [FORWARD, SKIP])
def test_saved_bytes_fall_with_the_share_of_full_groups(family: str, rest: Op) -> None:
    model = stacks.network(family)
    sizes = [
        saved_bytes(model, [[FULL] * count + [rest] * (4 - count)] * NUM_LAYERS)
        for count in (0, 2, 4)
    ]
    layers_part = [size - sizes[0] for size in sizes]
    assert 0.5 <= layers_part[1] / layers_part[2] <= 0.65
    assert sizes[0] < 0.5 * sizes[2]


def test_nothing_is_drawn_by_trying_out() -> None:
    model = stacks.network("vit")
    groups = find_groups(model)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with GroupExecutor(groups, Mode.SLICED).under(tables(groups)[0]):
        stacks.loss(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())


def phi() -> Any:
    """Query, key and value come from one map, at places that the config tells."""
    from transformers import Phi3Config, Phi3ForCausalLM

    config = Phi3Config(
        vocab_size=stacks.VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return Phi3ForCausalLM._from_config(config).train()


def test_a_class_that_cannot_be_sliced_is_refused_by_name() -> None:
    model = phi()
    groups = find_groups(model)
    table = [[FULL, SKIP, FULL, FULL]] * 2
    inputs = torch.arange(3, 11)[None]
    with GroupExecutor(groups).under(table):
        model(input_ids=inputs, use_cache=False)
    with (
        pytest.raises(BlocksError, match=r"Phi3Attention cannot be run by some.*emulate"),
        GroupExecutor(groups, Mode.SLICED).under(table),
    ):
        model(input_ids=inputs, use_cache=False)


def test_a_wrapper_that_is_not_plain_lora_is_refused_by_name() -> None:
    model = stacks.network("vit", dora=True)
    with pytest.raises(BlocksError, match=r"lora\.layer\.Linear is not plain LoRA.*emulate"):
        GroupExecutor(find_groups(model), Mode.SLICED)


def test_samples_that_differ_are_refused() -> None:
    groups = find_groups(stacks.network("vit"))
    run = GroupExecutor(groups, Mode.SLICED)
    table = tables(groups)[0]
    with (
        pytest.raises(BlocksError, match="cannot be sliced apart; choose emulate"),
        run.under_samples([table, table]),
    ):
        pass
