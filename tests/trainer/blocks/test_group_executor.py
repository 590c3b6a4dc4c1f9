"""Groups under operations: properties 1 to 4, 10 to 12 of D2FT's specification."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import cycle, islice

import pytest
import stacks
import torch
from stacks import NUM_LAYERS, gradients, same
from torch import Tensor, nn

from haversack_trainer.blocks import BlocksError, GroupExecutor, GroupOps, Mode, Op, find_groups
from haversack_trainer.blocks.cuts import Runs
from haversack_trainer.blocks.linear import base_of, features

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP


@pytest.fixture(params=stacks.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def executor(model: nn.Module) -> GroupExecutor:
    return GroupExecutor(find_groups(model))


def ops(run: GroupExecutor, *wanted: Op) -> GroupOps:
    """These, over and over, along the layers' groups."""
    count = run.groups.num_groups
    flat = list(islice(cycle(wanted), NUM_LAYERS * count))
    return [flat[start : start + count] for start in range(0, len(flat), count)]


def first(run: GroupExecutor, op: Op) -> GroupOps:
    """For group 0 of the middle layer; everything else in full."""
    table = [[FULL] * run.groups.num_groups for _ in range(NUM_LAYERS)]
    table[1][0] = op
    return table


def test_all_full_is_the_untouched_model(family: str) -> None:
    model = stacks.network(family)
    run, plain = executor(model), gradients(model)
    with run.under(ops(run, FULL)):
        assert same(gradients(model), plain)
    assert same(gradients(model), plain)


def test_forward_only_changes_no_bit_of_the_loss(family: str) -> None:
    model = stacks.network(family)
    run, plain = executor(model), stacks.loss(model)
    with run.under(ops(run, FULL, FORWARD, FORWARD)):
        assert torch.equal(stacks.loss(model), plain)
    with run.under(ops(run, FULL, FORWARD, SKIP)):
        assert not torch.equal(stacks.loss(model), plain)


def places(runs: Runs) -> list[int]:
    return [n for run in runs for n in range(run.start, run.stop)]


def slices(run: GroupExecutor, layer: int, group: int) -> dict[str, tuple[int, list[int]]]:
    """Axis and places of the group in the LoRA factors that have one: B of the maps in, A of the map out."""
    found: dict[str, tuple[int, list[int]]] = {}
    for part in run.groups.parts[layer]:
        if part.is_experts:
            continue
        found[f"{part.name}.lora_A.default.weight"] = (1, places(part.columns([group])))
        for rows in part.rows:
            shape = features(rows.module)
            assert shape is not None
            found[f"{rows.name}.lora_B.default.weight"] = (
                0,
                places(part.outputs(rows, shape[1], [group])),
            )
    return found


@pytest.mark.parametrize("op", [FORWARD, SKIP])
def test_a_group_that_does_not_train_has_no_gradient_and_every_other_has(
    family: str, op: Op
) -> None:
    model = stacks.network(family)
    run = executor(model)
    with run.under(first(run, op)):
        found = gradients(model)
    layer = f"{run.groups.layers.path}.1."
    for name, (axis, where) in slices(run, 1, 0).items():
        (gradient,) = (g for n, g in found.items() if n.endswith(layer + name))
        assert gradient is not None
        inside = gradient[(slice(None),) * axis + (where,)]
        assert not inside.any(), name
        others = torch.ones(gradient.shape[axis], dtype=torch.bool)
        others[where] = False
        rest = gradient.movedim(axis, 0)[others]
        assert rest.flatten(1).any(1).all(), name


def test_samples_of_one_batch_may_differ(family: str) -> None:
    model = stacks.network(family)
    run = executor(model)
    tables = [ops(run, FULL, SKIP, FORWARD, FULL), ops(run, FORWARD, FULL, SKIP, SKIP)]
    with run.under_samples(tables):
        together = gradients(model)
    parts = []
    for number, table in enumerate(tables):
        rows = slice(number, number + 1)
        with run.under(table):
            parts.append(gradients(model, partial(stacks.loss, rows=rows)))
    assert together.keys() == parts[0].keys()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, mean(parts[0][name], parts[1][name]), msg=name)


def mean(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    return None if left is None or right is None else (left + right) / 2


def test_skipping_every_group_of_a_layer_skips_it_but_for_biases() -> None:
    model = stacks.network("llama")
    run = executor(model)
    seen: list[bool] = []
    layer = run.groups.layers.modules[1]
    hook = layer.register_forward_hook(lambda _, args, out: seen.append(torch.equal(args[0], out)))
    table = [[FULL] * 2, [SKIP] * 2, [FULL] * 2]
    with run.under(table):
        stacks.loss(model)
    hook.remove()
    assert seen == [True]


@pytest.mark.parametrize("mode", Mode)
def test_what_groups_add_counts_as_often_as_told_and_a_bias_once(mode: Mode) -> None:
    model = stacks.network("gpt2")
    run = GroupExecutor(find_groups(model), mode)
    last, found = run.groups.parts[0][0].module, []
    bias = base_of(last).bias
    nn.init.normal_(bias)
    seen: list[Tensor] = []
    last.register_forward_hook(lambda _, args, out: seen.append(out))
    for scales in (None, [2.0, 1.0, 1.0]):
        with torch.no_grad(), run.under(ops(run, FULL), scales):
            stacks.loss(model)
        found.append(seen[-1])
    torch.testing.assert_close(found[1] - bias, 2 * (found[0] - bias))


def test_cells_are_counted_once_however_often_they_are_computed(family: str) -> None:
    model = stacks.network(family, checkpointing=True)
    run = executor(model)
    table = ops(run, FULL, SKIP, FORWARD)
    with run.under(table):
        gradients(model)
    assert run.executed == Counter(op for row in table for op in row)


def test_a_model_that_does_not_train_ignores_the_table(family: str) -> None:
    model = stacks.network(family).eval()
    run, plain = executor(model), stacks.loss(model)
    with run.under(ops(run, SKIP)):
        assert torch.equal(stacks.loss(model), plain)
    assert not run.executed


def test_checkpointing_changes_no_gradient(family: str) -> None:
    model, stored = stacks.network(family), stacks.network(family, checkpointing=True)
    run, other = executor(model), executor(stored)
    table = ops(run, FORWARD, FULL, SKIP, SKIP, FULL)
    with run.under(table):
        plain = gradients(model)
    with other.under(table):
        assert same(gradients(stored), plain)


def test_in_bf16_too(family: str) -> None:
    model = stacks.network(family).bfloat16()
    run, plain = executor(model), gradients(model)
    with run.under(ops(run, FULL)):
        assert same(gradients(model), plain)
    with run.under(ops(run, FORWARD, FULL)):
        assert torch.equal(stacks.loss(model).detach(), plain["loss"])  # type: ignore[arg-type]


def test_forward_only_changes_no_bit_under_loras_dropout() -> None:
    model = stacks.network("llama", dropout=0.5)
    run = executor(model)
    torch.manual_seed(3)
    plain, after = stacks.loss(model), torch.get_rng_state()
    torch.manual_seed(3)
    with run.under(ops(run, FULL, FORWARD)):
        assert torch.equal(stacks.loss(model), plain)
    assert torch.equal(torch.get_rng_state(), after)


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = stacks.network("vit")
    run, plain = executor(model), gradients(model)
    with pytest.raises(RuntimeError, match="cut short"), run.under(ops(run, SKIP)):
        raise RuntimeError("cut short")
    assert same(gradients(model), plain)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_table_of_another_shape_is_refused() -> None:
    run = executor(stacks.network("vit"))
    with (
        pytest.raises(BlocksError, match="3 layers of 4 groups"),
        run.under([[FULL] * 4, [FULL] * 4, [FULL] * 3]),
    ):
        pass
