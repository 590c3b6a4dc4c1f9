"""From a spec to kinds of peers, their ordinals and their micro-batches."""

from __future__ import annotations

from typing import Any

import pytest

from haversack_operator.api.job import JobSpec
from haversack_operator.placement.demand import demand_of
from haversack_trainer.contract.adapter import AdapterSpec
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.spec import Footprint, Quantization
from haversack_trainer.contract.weights import weights_of

MINILM = {"parameters": 22_700_000, "hiddenSize": 384, "numLayers": 6}
FACTORS = 6 * 2 * 2 * 384 * 8
"""Numbers that are trained: A and B of rank 8 on two targets of six layers."""


def a_spec(method: str = "DecLoRA", **changes: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "model": {
                "uri": "file:///models/minilm",
                "task": "SequenceClassification",
                "footprint": changes.pop("footprint", None),
            },
            "dataset": {"uri": "file:///data/texts.jsonl"},
            "method": {"type": method, METHODS[method].member: {}},
            "pools": [{"name": "cpu"}],
            "storage": {"uri": "file:///store"},
            **changes,
        }
    )


def test_ordinals_run_through_the_pools() -> None:
    pools = [
        {"name": "a", "peers": {"replicas": 3, "min": 1}},
        {"name": "b", "peers": {"replicas": 0}},
        {
            "name": "c",
            "peers": {"replicas": 2},
            "architecture": "arm64",
            "accelerator": {"count": 1, "memory": "6Gi"},
            "resources": {"cpu": "1500m", "memory": "10Gi"},
        },
    ]
    demand = demand_of(a_spec(pools=pools, placement={"minPeers": 4}))
    assert [list(kind.peers) for kind in demand.kinds] == [[0, 1, 2], [], [3, 4]]
    assert demand.min_peers == 4
    edge = demand.kinds[2]
    assert (edge.cpu_millis, edge.memory_bytes, edge.architecture) == (1500, 10 * 2**30, "arm64")
    assert edge.devices is not None
    assert edge.devices.memory_bytes == 6 * 2**30


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_card_tells_whether_neighbours_matter(method: str) -> None:
    assert demand_of(a_spec(method)).ring is METHODS[method].ring_edges


@pytest.mark.parametrize(
    ("training", "sizes"),
    [
        ({"batchSize": 32}, [32, 16, 8, 4, 2, 1]),
        ({"batchSize": 32, "microBatchSize": 8}, [8, 4, 2, 1]),
        ({"batchSize": 24}, [24, 8, 4, 2, 1]),
        ({"batchSize": 4, "microBatchSize": 64}, [4, 2, 1]),
    ],
)
def test_micro_batches_to_choose_from(training: dict[str, int], sizes: list[int]) -> None:
    kind = demand_of(a_spec(training=training, footprint=MINILM)).kinds[0]
    assert [one.micro_batch_size for one in kind.candidates] == sizes
    peaks = [one.peak_bytes for one in kind.candidates]
    assert peaks == sorted(peaks, reverse=True)


@pytest.mark.parametrize("accelerator", [None, {"count": 1}], ids=["on a CPU", "on a device"])
def test_peaks_are_the_card_s(accelerator: dict[str, int] | None) -> None:
    pools = [{"name": "cpu", "accelerator": accelerator}]
    kind = demand_of(a_spec(footprint=MINILM, pools=pools)).kinds[0]
    footprint = Footprint.model_validate(MINILM)
    expected = METHODS["DecLoRA"].memory.peak_bytes(
        footprint,
        weights_of(footprint, AdapterSpec()),
        max_length=128,
        micro_batch=1,
        on_device=accelerator is not None,
    )
    assert kind.candidates[-1].peak_bytes == expected


@pytest.mark.parametrize("accelerator", [None, {"count": 1}], ids=["on a CPU", "on a device"])
def test_training_all_weights_takes_what_the_card_says_of_each(
    accelerator: dict[str, int] | None,
) -> None:
    pools = [{"name": "cpu", "accelerator": accelerator}]
    lora, full = (
        demand_of(a_spec(footprint=MINILM, pools=pools, adapter={"type": kind})).kinds[0]
        for kind in ("LoRA", "Full")
    )
    each = METHODS["DecLoRA"].memory.bytes_per_trainable + (0 if accelerator else 8)
    more = MINILM["parameters"] * (each - 4) - FACTORS * each
    for one, other in zip(lora.candidates, full.candidates, strict=True):
        assert other.peak_bytes - one.peak_bytes == more


def test_four_bits_save_memory_where_the_embeddings_size_is_known() -> None:
    billion = {"parameters": 1_100_000_000, "hiddenSize": 2048, "numLayers": 22}

    def peak(quantization: str, **more: int) -> int:
        footprint = Footprint.model_validate({**billion, **more})
        return weights_of(footprint, AdapterSpec(), Quantization(quantization)).frozen_bytes

    assert peak("NF4") == peak("None") == 4_400_000_000
    assert peak("None", vocabularySize=32_000) == 4_400_000_000
    assert 1_100_000_000 < peak("NF4", vocabularySize=32_000) < 1_300_000_000
    spec = a_spec(footprint={**MINILM, "vocabularySize": 2_000})
    model = spec.model.model_copy(update={"quantization": Quantization.NF4})
    packed = demand_of(spec.model_copy(update={"model": model})).kinds[0].candidates[0]
    assert packed.peak_bytes < demand_of(spec).kinds[0].candidates[0].peak_bytes


def test_without_the_model_s_size_every_peer_does_as_told() -> None:
    kind = demand_of(a_spec(training={"batchSize": 32, "microBatchSize": 8})).kinds[0]
    assert [one.micro_batch_size for one in kind.candidates] == [8]


def test_layers_that_are_left_out_need_no_memory() -> None:
    def peak(**settings: str) -> int:
        method = {"type": "DropPEFT", "dropPEFT": settings}
        spec = a_spec("DropPEFT", footprint=MINILM).model_copy(update={"method": method})
        return demand_of(spec).kinds[0].candidates[0].peak_bytes

    full, half = peak(dropRate="0"), peak(dropRate="0.5")
    assert full > half
    # Of six layers 2.4 run on average, so three must have room; no higher rate is to be had.
    assert peak(dropRate="0.6") == peak(configurator="EpsilonGreedy") == half
    assert peak(sampler="Bernoulli", dropRate="0.5") > half


def peak_with(settings: dict[str, Any], method: str = "SPSA", member: str = "spsa") -> int:
    spec = a_spec(method, footprint=MINILM)
    changed = spec.model_copy(update={"method": {"type": method, member: settings}})
    return demand_of(changed).kinds[0].candidates[0].peak_bytes


def test_momentum_of_the_mixed_state_is_one_number_a_weight_more() -> None:
    def more(optimizer: str) -> int:
        settings = {"optimizer": optimizer}
        inside = peak_with({"gossip": settings}, "D2FT", "d2FT") - peak_with({}, "D2FT", "d2FT")
        alone = peak_with(settings, "DecLoRA", "decLoRA") - peak_with({}, "DecLoRA", "decLoRA")
        assert inside == alone
        return alone

    assert (more("SGD"), more("QuasiGlobal")) == (0, 4 * FACTORS)


def test_many_points_in_a_pass_are_so_many_batches() -> None:
    weights = 4 * Footprint.model_validate(MINILM).parameters
    constant = METHODS["SPSA"].memory.runtime_bytes + weights
    many = peak_with({"pointsPerPass": 16, "sharedBatch": True}) - constant
    assert 15 < many / (peak_with({}) - constant) < 16.1


def test_a_projection_has_a_backward_pass() -> None:
    plain = demand_of(a_spec("FlexDeMo", footprint=MINILM)).kinds[0].candidates[0].peak_bytes
    assert peak_with({"estimator": "Projection"}) == plain > peak_with({})


LARGE = {
    "parameters": 8_000_000_000,
    "hiddenSize": 4096,
    "numLayers": 32,
    "vocabularySize": 128_000,
}


def peaks(sharding: str, pool: dict[str, Any]) -> tuple[int, int]:
    """Processes of a peer, and bytes at the peak of a step with the smallest micro-batch."""
    method = {"type": "FlexDeMo", "flexDeMo": {"sharding": sharding}}
    spec = a_spec(footprint=LARGE, pools=[{"name": "one", **pool}]).model_copy(
        update={"method": method}
    )
    kind = demand_of(spec).kinds[0]
    return kind.processes, kind.candidates[-1].peak_bytes


def test_a_frozen_model_that_is_loaded_in_parts_fits_where_it_would_not() -> None:
    """Only ZeRO-3 never has the whole of it: the others are counted whole, on the safe side."""
    devices = {"accelerator": {"count": 4}}
    base = 4 * LARGE["parameters"]
    none, whole = peaks("None", devices), peaks("ZeRO1", devices)
    assert none == (1, whole[1])
    assert peaks("FSDP2", devices) == whole
    assert whole[0] == 4
    num_processes, part = peaks("ZeRO3", devices)
    assert num_processes == 4
    assert base / 4 < part < 0.6 * base < whole[1]


def test_the_processes_of_a_cpu_peer_share_its_memory() -> None:
    one, four = peaks("ZeRO1", {}), peaks("ZeRO1", {"processes": 4})
    assert four == (4, 4 * one[1])


def groups_peak(**settings: Any) -> int:
    """Of a pod of two devices, without weights and runtime."""
    pools = [{"name": "one", "accelerator": {"count": 2}}]
    method = {"type": "D2FT", "d2FT": settings}
    spec = a_spec(footprint=MINILM, pools=pools).model_copy(update={"method": method})
    weights = 4 * Footprint.model_validate(MINILM).parameters
    constant = METHODS["D2FT"].memory.runtime_bytes + weights
    return demand_of(spec).kinds[0].candidates[0].peak_bytes - constant


def test_processes_that_have_groups_each_take_a_share_of_the_activations() -> None:
    """What is no group's, and what is trained, is whole on the first; every process loads all weights."""
    alone, known = groups_peak(), groups_peak(sharding="Groups", groups=12)
    assert 0.65 < known / alone < 0.7
    assert known < groups_peak(sharding="Groups") < 0.82 * alone
    uneven = [
        groups_peak(sharding="Groups", **more)
        for more in ({"devices": [2, 1]}, {"measureRho": True})
    ]
    assert uneven == [alone + 12 * FACTORS] * 2


def test_a_micro_batch_is_no_more_than_a_process_s_part_of_the_batch() -> None:
    spec = a_spec(pools=[{"name": "one", "processes": 4}], training={"batchSize": 30})
    sharded = spec.model_copy(
        update={"method": {"type": "FlexDeMo", "flexDeMo": {"sharding": "ZeRO1"}}}
    )
    assert demand_of(sharded).kinds[0].candidates[0].micro_batch_size == 8
    groups = spec.model_copy(update={"method": {"type": "D2FT", "d2FT": {"sharding": "Groups"}}})
    whole = demand_of(groups).kinds[0]
    assert (whole.processes, whole.candidates[0].micro_batch_size) == (4, 30)
