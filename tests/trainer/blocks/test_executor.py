"""Layers that are left out: what remains is the network without them, bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import stacks
import torch
from stacks import NUM_LAYERS, gradients, same
from torch import Tensor, nn

from haversack_trainer.blocks import BlocksError, LayerExecutor, Op, find_layers

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP
ALL = (FULL,) * NUM_LAYERS
LAST = (FULL, FULL, SKIP)


@pytest.fixture(params=stacks.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def executor(model: nn.Module) -> LayerExecutor:
    return LayerExecutor(find_layers(model))


def in_layer(model: nn.Module, layer: int) -> list[str]:
    found = find_layers(model).of_parameters(iter(trained(model)))
    return [name for name, where in found.items() if where == layer]


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def test_with_nothing_dropped_it_is_the_untouched_model(family: str) -> None:
    model = stacks.network(family)
    plain = gradients(model)
    with executor(model).under(ALL):
        assert same(gradients(model), plain)
    assert same(gradients(model), plain)


def test_dropping_is_the_shortened_model(family: str) -> None:
    model, short = stacks.network(family), stacks.network(family)
    ops = (FULL, SKIP, FULL)
    with executor(model).under(ops):
        dropped = gradients(model)
    layers = find_layers(short)
    inside = short.get_submodule(layers.path.rpartition(".")[0])
    kept = nn.ModuleList([layers.modules[0], layers.modules[2]])
    setattr(inside, layers.path.rpartition(".")[2], kept)
    shorten(short.config)
    assert torch.equal(gradients(short)["loss"], dropped["loss"])  # type: ignore[arg-type]
    for (name, ours), theirs in zip(
        [(n, g) for n, g in dropped.items() if n not in in_layer(model, 1)],
        gradients(short).values(),
        strict=True,
    ):
        assert ours is not None, name
        assert theirs is not None, name
        assert torch.equal(ours, theirs), name


def shorten(config: Any) -> None:
    config.num_hidden_layers = NUM_LAYERS - 1
    types = getattr(config, "layer_types", None)
    if types:
        config.layer_types = [types[0], types[2]]


def test_a_dropped_layer_has_no_gradient_and_every_other_has(family: str) -> None:
    model = stacks.network(family)
    with executor(model).under(LAST):
        found = gradients(model)
    without = {name for name, gradient in found.items() if gradient is None}
    assert without == set(in_layer(model, 2))


@pytest.mark.parametrize("ops", [ALL, LAST, (FULL, FORWARD, SKIP)], ids=["all", "skip", "mixed"])
def test_checkpointing_changes_no_gradient(family: str, ops: tuple[Op, ...]) -> None:
    model, stored = stacks.network(family), stacks.network(family, checkpointing=True)
    with executor(model).under(ops):
        plain = gradients(model)
    with executor(stored).under(ops):
        assert same(gradients(stored), plain)


def test_a_model_that_does_not_train_ignores_the_plan(family: str) -> None:
    model = stacks.network(family).eval()
    plain = stacks.loss(model)
    with executor(model).under((SKIP,) * NUM_LAYERS):
        assert torch.equal(stacks.loss(model), plain)


def test_forward_only_keeps_the_loss_and_trains_the_others(family: str) -> None:
    model = stacks.network(family)
    plain = stacks.loss(model)
    with executor(model).under((FULL, FORWARD, FULL)):
        found = gradients(model)
    assert torch.equal(plain, found["loss"])  # type: ignore[arg-type]
    without = {name for name, gradient in found.items() if gradient is None}
    assert without == set(in_layer(model, 1))


def test_in_bf16_too(family: str) -> None:
    model = stacks.network(family).bfloat16()
    plain = gradients(model)
    with executor(model).under(ALL):
        assert same(gradients(model), plain)
    with executor(model).under(LAST):
        found = gradients(model)
    assert torch.isfinite(found["loss"])  # type: ignore[arg-type]
    assert {n for n, g in found.items() if g is None} == set(in_layer(model, 2))


def saved_bytes(model: nn.Module, num_dropped: int) -> int:
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    ops = (FULL,) * (NUM_LAYERS - num_dropped) + (SKIP,) * num_dropped
    held = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with (
        executor(model).under(ops),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept),
    ):
        stacks.loss(model).backward()  # type: ignore[no-untyped-call]
    return sum(size for pointer, size in sizes.items() if pointer not in held)


def test_saved_bytes_fall_with_each_dropped_layer(family: str) -> None:
    model = stacks.network(family)
    sizes = [saved_bytes(model, count) for count in range(NUM_LAYERS)]
    assert sizes == sorted(set(sizes), reverse=True)


def test_a_scale_multiplies_what_the_layer_adds() -> None:
    model = stacks.network("llama")
    layer = find_layers(model).modules[1]
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, args, output: seen.append(output - args[0]))
    stacks.loss(model)
    with executor(model).under(ALL, (1.0, 2.0, 1.0)):
        stacks.loss(model)
    hook.remove()
    torch.testing.assert_close(seen[1], 2 * seen[0])


def test_what_ran_is_counted() -> None:
    model = stacks.network("vit")
    run = executor(model)
    with run.under((FULL, FORWARD, SKIP)):
        stacks.loss(model)
        stacks.loss(model)
    assert run.executed == {FULL: 2, FORWARD: 2, SKIP: 2}


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = stacks.network("vit")
    plain = gradients(model)
    with pytest.raises(RuntimeError, match="cut short"), executor(model).under(LAST):
        raise RuntimeError("cut short")
    assert same(gradients(model), plain)
    assert not any("forward" in vars(module) for module in find_layers(model).modules)


def test_finding_out_what_a_layer_returns_draws_nothing() -> None:
    model = stacks.network("deberta-v2")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with executor(model).under((FULL, FULL, SKIP)):
        stacks.loss(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plan_of_another_length_is_refused() -> None:
    model = stacks.network("vit")
    with (
        pytest.raises(BlocksError, match="2 operations for 3 layers"),
        executor(model).under((FULL, FULL)),
    ):
        pass
