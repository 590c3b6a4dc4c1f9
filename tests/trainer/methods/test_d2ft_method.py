"""Rounds of D2FT among peers that share a network, and the gradient of a step."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import stacks
import torch
from d2ft_peers import Peer, gradients, settings_of, train
from grouped_toys import GroupedToy, MixingAttention, PieceBatches
from toys import ToyNetwork

from haversack_trainer.blocks import Op
from haversack_trainer.method import Unsuited
from haversack_trainer.methods.d2ft.settings import Settings
from haversack_trainer.methods.declora.method import DecLora

EVERYTHING: dict[str, Any] = {"budget": "1", "refresh_steps": 10**6}


def grads(model: GroupedToy) -> dict[str, torch.Tensor | None]:
    return {name: p.grad for name, p in model.trainables()}


def test_with_the_whole_budget_it_is_dec_lora() -> None:
    network, other = ToyNetwork(), ToyNetwork()
    peers = {n: Peer(n, **EVERYTHING) for n in range(2)}
    models = {n: GroupedToy() for n in range(2)}
    settings = settings_of().gossip
    plain = {n: DecLora(settings, n, 17, models[n], PieceBatches(n)) for n in range(2)}
    for number in range(2):
        network.run({n: peer.method for n, peer in peers.items()}, number)
        other.run(plain, number)
    for n, peer in peers.items():
        for name, tensor in models[n].trainable_state().items():
            torch.testing.assert_close(
                peer.model.trainable_state()[name], tensor, atol=2e-5, rtol=1e-4
            )


@pytest.mark.parametrize("solver", ["Exact", "TwoStage"])
def test_less_work_still_learns(solver: str) -> None:
    network, peer, losses = ToyNetwork(), Peer(0, solver=solver), []
    for number in range(6):
        result = network.run({0: peer.method}, number)[0]
        losses.append(result.loss)
        assert result.metrics["compute_share"] <= 0.6 + 1e-9
    assert sum(losses[-2:]) < 0.8 * sum(losses[:2])


def test_what_the_table_says_is_what_the_executor_counts() -> None:
    model, batches = GroupedToy(frozen=True), PieceBatches()
    scheduled = gradients(model, batches)
    executor = scheduled._scorer.executor
    for step in range(6):
        before = executor.executed.copy()
        scheduled.accumulate(step)
        done, figures = executor.executed - before, scheduled.figures()
        assert done[Op.FULL] == pytest.approx(60 * figures["full_share"])
        assert done[Op.FORWARD] == pytest.approx(60 * figures["forward_only_share"])
        assert figures["compute_share"] == pytest.approx(
            (done[Op.FULL] + done[Op.FORWARD] / 2) / 60
        )


def test_the_gradient_is_the_mean_over_the_samples_however_they_are_passed() -> None:
    found = []
    for passes in (1, 2):
        model, batches = GroupedToy(), PieceBatches()
        batches.passes = passes
        loss, num_samples = gradients(model, batches).accumulate(0)
        assert num_samples == 10
        found.append((loss, grads(model)))
    assert found[0][0] == pytest.approx(found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("rescale", ["None", "TrainInverse"])
def test_slices_learn_what_masks_do(rescale: str) -> None:
    found = []
    for mode in ("Sliced", "Emulate"):
        model = GroupedToy()
        scheduled = gradients(model, PieceBatches(), mode=mode, rescale=rescale)
        found.append((scheduled.accumulate(0)[0], grads(model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], atol=1e-5, rtol=1e-3)


def test_masks_score_what_runs_in_full_on_the_way_and_slices_do_not() -> None:
    changed = {}
    for mode in ("Sliced", "Emulate"):
        scheduled = gradients(GroupedToy(), PieceBatches(), mode=mode, refresh_steps=100)
        scheduled.accumulate(0)
        memory, records = scheduled._memories["Gate"], [np.arange(10, 20)]
        before = memory.recall(records)
        scheduled.accumulate(1)
        changed[mode] = not np.array_equal(before, memory.recall(records))
    assert changed == {"Sliced": False, "Emulate": True}


def test_a_step_in_which_all_that_is_trained_was_cut_out_changes_nothing() -> None:
    model = GroupedToy(frozen=True)
    scheduled = gradients(
        model, PieceBatches(), budget="0.001", devices=[1], min_active=0, max_idle_steps=0
    )
    loss, _ = scheduled.accumulate(0)
    assert np.isfinite(loss)
    assert set(grads(model).values()) == {None}


def test_a_model_that_cannot_be_sliced_is_refused_before_training() -> None:
    model = GroupedToy()
    for block in model.network.layers:  # type: ignore[union-attr]  # an nn.Module to mypy
        block.attn.__class__ = MixingAttention
    with pytest.raises(Unsuited, match=r"method\.d2FT\.mode: .* choose emulate"):
        Peer(0, model=model)


def test_a_layer_that_never_runs_in_full_has_no_gradient() -> None:
    """With one budget for all, and nothing that must run, some layers are left out."""
    model, batches = GroupedToy(), PieceBatches()
    scheduled = gradients(
        model, batches, budget="0.1", devices=[1], min_active=0, max_idle_steps=0, micro_batches=2
    )
    scheduled.accumulate(0)
    missing = {name.split(".")[1] for name, g in grads(model).items() if g is None}
    assert missing
    assert missing < {"0", "1", "2"}


def test_reweighted_gradients_are_divided_by_what_ran_in_full() -> None:
    found = {}
    for reweight in (False, True):
        model = GroupedToy()
        scheduled = gradients(
            model, PieceBatches(), solver="Slots", slots={"full": 2}, reweight=reweight
        )
        scheduled.accumulate(0)
        found[reweight] = grads(model)
    for name, gradient in found[False].items():
        assert gradient is not None
        factor = 1.0 if name.startswith("head") else 5 / 2
        torch.testing.assert_close(found[True][name], gradient * factor)


@pytest.mark.parametrize("mode", ["Sliced", "Emulate"])
def test_rescaling_changes_what_is_skipped_from_and_nothing_else(mode: str) -> None:
    slots: dict[str, Any] = {"solver": "Slots", "slots": {"full": 2, "forward_only": 1}}
    warm, scarce, judged = [], [], []
    for rescale in ("None", "TrainInverse"):
        model, batches = GroupedToy(), PieceBatches()
        scheduled = gradients(model, batches, mode=mode, rescale=rescale, warm_up_steps=1, **slots)
        scheduled.accumulate(0)
        warm.append(copy.deepcopy(grads(model)))
        scarce.append(scheduled.accumulate(1)[0])
        model.train(mode=False)
        judged.append(float(model.loss(batches.pieces(0, 1)[0].batches[0]).detach()))
    assert stacks.same(*warm), "all in full, bit by bit"
    assert judged[0] == judged[1]
    assert scarce[0] != scarce[1]


def test_everything_runs_until_it_is_warm() -> None:
    scheduled = gradients(GroupedToy(), PieceBatches(), warm_up_steps=2)
    shares = []
    for step in range(3):
        scheduled.accumulate(step)
        shares.append(scheduled.figures()["full_share"])
    assert shares[:2] == [1, 1]
    assert shares[2] < 1


def test_scoring_is_counted_and_comes_as_often_as_asked() -> None:
    def scoring(refresh: int) -> list[float]:
        scheduled = gradients(GroupedToy(), PieceBatches(num_records=40), refresh_steps=refresh)
        shares = []
        for step in range(5):
            scheduled.accumulate(step)
            shares.append(scheduled.figures()["scoring_share"])
        return shares

    assert scoring(2) == [1, 0, 1, 0, 1]
    # Once: the whole data, four batches of it.
    assert scoring(0) == [4, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "scores",
    [
        {"forward_score": "Fisher", "backward_score": "Magnitude"},
        {"forward_score": "Fisher", "backward_score": "Gate"},
        {"forward_score": "Gate", "backward_score": "Magnitude"},
    ],
)
def test_a_group_that_does_nothing_is_never_preferred(scores: dict[str, str]) -> None:
    """Heads and slices whose weights are zero score nothing."""
    model = GroupedToy()
    dead = (slice(0, 2), slice(0, 4))
    with torch.no_grad():
        for block in model.network.layers:  # type: ignore[union-attr]  # an nn.Module to mypy
            block.attn.v_proj.weight[dead[0]] = 0
            block.attn.o_proj.weight[:, dead[0]] = 0
            block.mlp.up_proj.weight[dead[1]] = 0
            block.mlp.up_proj.bias[dead[1]] = 0
            block.mlp.down_proj.weight[:, dead[1]] = 0
    scheduled = gradients(
        model, PieceBatches(), devices=[1], min_active=0, max_idle_steps=0, **scores
    )
    pieces = PieceBatches().pieces(0, 5)
    scheduled._refresh(0, pieces)
    by_group = scheduled._table(0, pieces).reshape(3, 4, 5).sum(axis=(0, 2))
    assert by_group[0] < by_group[1:].min()


def test_a_peer_resumes_with_the_same_tables() -> None:
    first, second = Peer(0), Peer(0)
    network = ToyNetwork()
    train(network, {0: first}, range(2))
    second.model.load_trainable_state(first.model.trainable_state())
    second.method.load_state_dict(copy.deepcopy(first.method.state_dict()))
    for number in range(2, 5):
        results = [peer.method.local_step(number) for peer in (first, second)]
        assert results[0] == results[1]
    assert torch.equal(first.vector(), second.vector())


def test_evaluation_runs_everything() -> None:
    peer = Peer(0)
    peer.method.local_step(0)
    peer.model.train(mode=False)
    batch = PieceBatches().micro_batches(0)[0]
    executed = dict(peer.method._training._gradients._scorer.executor.executed)  # type: ignore[attr-defined]
    expected = peer.model.network(batch.inputs)
    assert torch.equal(expected, peer.model.network(batch.inputs))
    assert executed == dict(peer.method._training._gradients._scorer.executor.executed)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"groups": 3}, r"method\.d2FT\.groups: .* choose from: 1, 2, 4"),
        ({"micro_batches": 11}, r"method\.d2FT\.microBatches: a step's batch has fewer samples"),
        ({"budget": "0.1"}, r"method\.d2FT\.budget: has no room for minActive"),
        ({"protect": "First", "budget": "0.2"}, r"method\.d2FT\.protect: the budget has no room"),
        ({"min_active": 5}, r"method\.d2FT\.minActive: a layer has 4 groups only"),
        (
            {"gossip": {"mixer": "DeCAF"}},
            r"method\.d2FT\.gossip\.mixer is DeCAF, but what is trained has no LoRA factors",
        ),
    ],
)
def test_what_cannot_be_met_is_refused_before_training(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Unsuited, match=sentence):
        Peer(0, **settings)


def test_a_model_without_heads_is_refused() -> None:
    model = GroupedToy()
    model.network.config = None  # type: ignore[assignment]
    with pytest.raises(Unsuited, match=r"method\.type D2FT: "):
        Peer(0, model=model)


@pytest.mark.parametrize(
    ("settings", "frozen", "rho"),
    [
        ({}, True, 1 / 2),
        ({}, False, 1 / 3),
        ({"rho": "0.4"}, True, 0.4),
        # By the toy's clock a forward pass takes as long as a backward pass.
        ({"measure_rho": True}, False, 1 / 2),
    ],
)
def test_a_forward_pass_costs(settings: dict[str, Any], frozen: bool, rho: float) -> None:
    scheduled = gradients(GroupedToy(frozen=frozen), PieceBatches(), **settings)
    assert scheduled._planner.site.costs.rho == pytest.approx(rho)
    assert all(p.grad is None for _, p in scheduled._model.trainables())


def test_faster_devices_do_more() -> None:
    scheduled = gradients(GroupedToy(num_heads=4), PieceBatches(), devices=[3, 1])
    site = scheduled._planner.site
    assert site.capacities[0] == pytest.approx(3 * site.capacities[1], rel=0.05)
    assert np.bincount(site.where)[0] > np.bincount(site.where)[1]


def test_the_graph_of_the_gossip_is_checked_over_the_jobs_peers() -> None:
    settings = Settings.model_validate({"gossip": {"graph": "Edges", "edges": ["0-5"]}})
    fault = settings.fault(3)
    assert fault is not None
    assert fault.startswith("gossip.edges: 0-5 names peer 5")
