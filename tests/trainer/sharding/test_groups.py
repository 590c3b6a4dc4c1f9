"""Groups on several processes: the values and gradients of one process, and each holds its share only."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pod_groups
import pytest
import stacks
import torch
from stacks import NUM_LAYERS
from thread_pod import Model, Pod, assert_equal, pod, tried
from torch import Tensor, nn

from haversack_trainer.blocks import BlocksError, GroupOps, Op, Scales, find_groups
from haversack_trainer.blocks.routes import Hosts, num_transfers
from haversack_trainer.blocks.scores import fisher, gated
from haversack_trainer.contract.cards import MemoryModel
from haversack_trainer.methods.d2ft.pod_memory import in_pod, largest_share

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP
TABLES: tuple[GroupOps, ...] = (
    [[FULL, FORWARD, SKIP, FULL], [SKIP, FORWARD, FORWARD, FULL], [FULL, SKIP, SKIP, SKIP]],
    [[FORWARD] * 4, [SKIP] * 4, [SKIP, FULL] * 2],
    [[FULL] * 4] * 3,
)
"""All three operations in one layer, layers without one of them, a layer of nothing."""
SCALES = ((1.5, 2.0, 0.75), None, (1.0, 1.25, 1.0))
"""Of each table's layers."""
SHAPE = (2, 8, 16)
"""Of the hidden state that ``stacks.loss`` sends through the layers."""


def tables(num_groups: int) -> list[GroupOps]:
    return [[row[:num_groups] for row in table] for table in TABLES]


def gradients(model: Model, run: Callable[[], Tensor]) -> dict[str, Tensor | None]:
    """Of all that is trained, as the method sees it; the loss is under ``loss``."""
    for _, parameter in model.trainables():
        parameter.grad = None
    loss = run()
    found = {name: p.grad for name, p in model.trainables()}
    return {"loss": loss.detach(), **found}


def of_one(
    network: nn.Module, table: GroupOps, scales: Scales | None = None
) -> dict[str, Tensor | None]:
    """By slices in one process."""
    executor = tried(network, stacks.loss)

    def run() -> Tensor:
        with executor.under(table, scales):
            loss = stacks.loss(network)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return gradients(Model(network), run)


def of_several(pod: Pod, table: GroupOps, scales: Scales | None = None) -> dict[str, Tensor | None]:
    def run() -> Tensor:
        with pod.first.step(), pod.first.under(table, scales):
            loss = stacks.loss(pod.models[0].network)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return gradients(pod.models[0], run)


def hosts_of(num_groups: int, size: int) -> Hosts:
    return Hosts.even(NUM_LAYERS, num_groups, size)


def a_network(family: str, *, everything: bool = False) -> nn.Module:
    network = stacks.network(family)
    return network.requires_grad_(True) if everything else network


@pytest.mark.parametrize(
    ("family", "size", "everything"),
    [
        ("llama", 2, False),
        ("gemma2", 2, True),
        ("gpt2", 3, True),
        ("roberta", 3, False),
        ("roberta", 2, True),
        ("deberta-v2", 2, False),
        ("vit", 4, False),
    ],
)
def test_values_and_gradients_are_one_processs(family: str, size: int, everything: bool) -> None:
    network = a_network(family, everything=everything)
    num_groups = find_groups(network).num_groups
    with pod(network, stacks.loss, hosts_of(num_groups, size)) as spread:
        for table, scales in zip(tables(num_groups), SCALES, strict=True):
            found = of_several(spread, table, scales)
            assert_equal(found, of_one(network, table, scales))
        assert stacks.same(of_several(spread, table, scales), found), "the same order of adding"
        assert sum(spread.first.executed.values()) == 4 * NUM_LAYERS * num_groups


@pytest.mark.timeout(600)
def test_processes_do_what_threads_do(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(pod_groups.__file__)), str(tmp_path / "meeting"), "3"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_some_process_may_have_nothing_of_a_layer_and_the_first_nothing_at_all() -> None:
    network = a_network("roberta")
    hosts = Hosts(((1, 1, 2, 1), (2, 2, 2, 2), (1, 2, 1, 2)), 3)
    with pod(network, stacks.loss, hosts) as spread:
        for table in TABLES:
            assert_equal(of_several(spread, table), of_one(network, table))


def test_as_many_bytes_go_over_the_wires_as_are_modelled() -> None:
    network = a_network("gpt2")
    hosts = hosts_of(4, 3)
    with pod(network, stacks.loss, hosts) as spread:
        of_several(spread, TABLES[0])  # what is trained is sent once, and gradients come back
        for table in TABLES:
            before = spread.num_bytes
            with spread.first.under(table):
                stacks.loss(spread.models[0].network).backward()  # type: ignore[no-untyped-call]
            states = num_transfers(table, hosts, 2, backward=True)
            assert spread.num_bytes - before == states * 4 * math.prod(SHAPE)


def test_each_process_holds_its_share_of_the_layers_and_the_first_the_rest() -> None:
    network = a_network("llama")
    layers = find_groups(network).layers
    whole = Model(network).num_bytes()
    with pod(network, stacks.loss, hosts_of(2, 2)) as spread:
        of_several(spread, [[FULL] * 2] * NUM_LAYERS)
        held = [model.num_bytes() for model in spread.models]
    linear = sum(
        p.nbytes for module in layers.modules for n, p in module.named_parameters() if "base" in n
    )
    shared = sum(
        p.nbytes
        for module in layers.modules
        for n, p in module.named_parameters()
        if ("lora_A" in n) != ("o_proj" in n or "down_proj" in n) and "lora_" in n
    )
    assert sum(held) == whole + shared, "what groups share of an adapter is with both"
    assert held[1] < linear / 2 + sum(p.nbytes for _, p in Model(network).trainables())


def kept_bytes(network: nn.Module) -> int:
    """What autograd keeps of a pass in full in this thread, but for weights."""
    held = {p.untyped_storage().data_ptr() for p in network.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        loss = stacks.loss(network)
    loss.backward()  # type: ignore[no-untyped-call]
    return sum(size for pointer, size in sizes.items() if pointer not in held)


@pytest.mark.parametrize(("family", "size"), [("roberta", 2), ("roberta", 4), ("llama", 2)])
def test_the_first_process_keeps_no_more_activations_than_placement_reckons_with(
    family: str, size: int
) -> None:
    wide = {"hidden_size": 64, "intermediate_size": 256}
    network = stacks.network(family, sizes=wide).requires_grad_(True)
    whole = kept_bytes(network)
    num_groups = find_groups(network).num_groups
    with pod(network, stacks.loss, hosts_of(num_groups, size)) as spread, spread.first.step():
        found = kept_bytes(spread.models[0].network)
    usual = MemoryModel(bytes_per_trainable=24, activation_factor=1000, score_copies=4)
    counted = in_pod(usual, largest_share(num_groups, size)).activation_factor / 1000
    assert 0.5 * counted < found / whole < counted < 0.7


def test_it_is_judged_by_all_of_its_groups_with_and_without_its_adapter() -> None:
    network = a_network("roberta")
    with pod(network, stacks.loss, hosts_of(4, 3)) as spread:
        first: Any = spread.models[0].network
        for model in (network, first):
            model.eval()
        with torch.no_grad(), spread.first.under(TABLES[1]):
            torch.testing.assert_close(stacks.loss(first), stacks.loss(network))
            for _, parameter in (*spread.models[0].trainables(), *Model(network).trainables()):
                parameter.add_(0.1)
            moved = stacks.loss(network)
            torch.testing.assert_close(stacks.loss(first), moved)
            with first.disable_adapter(), network.disable_adapter():  # type: ignore[operator]
                plain = stacks.loss(network)
                torch.testing.assert_close(stacks.loss(first), plain)
            torch.testing.assert_close(stacks.loss(first), moved)
    assert not torch.isclose(plain, moved)


def test_groups_are_scored_where_they_are() -> None:
    network = a_network("llama")
    groups = find_groups(network)
    with gated(groups) as gates:
        stacks.loss(network).backward()  # type: ignore[no-untyped-call]
    with pod(network, stacks.loss, hosts_of(2, 2)) as spread:
        with spread.first.scoring() as scoring:
            stacks.loss(spread.models[0].network).backward()  # type: ignore[no-untyped-call]
            np.testing.assert_allclose(scoring.gates(), gates.scores(), rtol=1e-4)
            np.testing.assert_allclose(scoring.fisher(), fisher(groups), rtol=1e-4)
        table = TABLES[0][0][:2], TABLES[0][1][:2], TABLES[0][2][:2]
        assert_equal(of_several(spread, table), of_one(network, table))


def test_what_rests_has_no_gradient_and_any_weight_can_be_had_whole() -> None:
    network = a_network("gpt2")
    with pod(network, stacks.loss, hosts_of(4, 2)) as spread:
        model = spread.models[0]
        for name, parameter in model.trainables():
            parameter.requires_grad_("lora_A" not in name)
        found = of_several(spread, TABLES[2])
        assert all((g is None) == ("lora_A" in n) for n, g in found.items() if n != "loss")
        for name, parameter in network.named_parameters():
            here = model.network.get_parameter(name)
            assert torch.equal(model.held.whole(here), parameter), name


def test_a_part_that_is_called_with_more_than_a_hidden_state_is_refused_by_name() -> None:
    network = a_network("deberta-v2", everything=True)
    refusal = "DisentangledSelfAttention is called with a tensor with a gradient"
    with (
        pytest.raises(BlocksError, match=refusal),
        pod(network, stacks.loss, hosts_of(4, 2)) as spread,
    ):
        of_several(spread, TABLES[0])
