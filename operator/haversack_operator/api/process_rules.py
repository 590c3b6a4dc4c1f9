"""Rules on pods with several processes."""

from __future__ import annotations

from typing import Final

from haversack_operator.api.processes import (
    equal_processes_cel,
    has_equal_processes,
    has_processes_only_if_sharded,
    has_processes_to_serve,
    holds_if_sharded_cel,
    only_if_sharded_cel,
    processes_to_serve_cel,
    sharding,
    shares_forwards_out,
    shares_forwards_out_cel,
)
from haversack_operator.api.rule import Rule
from haversack_trainer.contract.adapter import AdapterType
from haversack_trainer.contract.spec import Quantization

PROCESS_RULES: Final = (
    Rule(
        "spec.pools[]",
        "!has(self.accelerator) || self.processes == 1",
        lambda pool: pool.accelerator is None or pool.processes == 1,
        "processes: is for CPU peers, since a peer with devices has one on each; remove it",
    ),
    Rule(
        "spec",
        only_if_sharded_cel(),
        has_processes_only_if_sharded,
        "pools: several processes share a model out, which takes a method with sharding; set the "
        "method's sharding, or remove processes",
    ),
    Rule(
        "spec",
        equal_processes_cel(),
        has_equal_processes,
        "pools: with sharding every process has a partner in each other peer; write the same "
        "accelerator.count or processes in all pools",
    ),
    Rule(
        "spec",
        processes_to_serve_cel(),
        has_processes_to_serve,
        "pools: sharding Groups shares a peer's model out to its processes, and no pool has more than one; raise "
        "accelerator.count or processes of a pool, or write sharding None",
    ),
    Rule(
        "spec",
        holds_if_sharded_cel("self.model.quantization == 'None'"),
        lambda spec: spec.model.quantization is Quantization.NONE or sharding(spec) is None,
        "model.quantization: weights in four bits cannot be shared out; remove it, or write sharding None",
    ),
    Rule(
        "spec",
        f"self.adapter.type == 'LoRA' || !({shares_forwards_out_cel()})",
        lambda spec: spec.adapter.type is AdapterType.LORA or not shares_forwards_out(spec),
        "adapter.type: SPSA's processes share frozen weights out, of which Full has none; write LoRA, or "
        "sharding None",
    ),
)
