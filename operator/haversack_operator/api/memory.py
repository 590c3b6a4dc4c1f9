"""What a step takes of a pool's memory: what placement decides by, and ``method.type: Auto``. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from haversack_operator.api.job import JobSpec, Pool
from haversack_operator.api.processes import num_processes, num_shares, sharding
from haversack_operator.api.quantity import to_bytes
from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.spec import Footprint
from haversack_trainer.contract.weights import weights_of

LOADED_IN_PARTS: Final = "ZeRO3"
"""FSDP2 splits a model that each process has loaded whole; ZeRO 1 and 2 leave the frozen weights whole."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A micro-batch, and the peak of a peer that uses it."""

    micro_batch_size: int
    peak_bytes: int
    """0 when the model's size is not known."""


def candidates(spec: JobSpec, pool: Pool) -> tuple[Candidate, ...]:
    """The wanted micro-batch, then powers of two that divide the batch. The spec names its method."""
    batch = spec.training.batch_size
    wanted = min(spec.training.micro_batch_size or batch, -(-batch // num_shares(spec, pool)))
    footprint = spec.model.footprint
    if footprint is None:
        return (Candidate(wanted, 0),)
    powers = (2**exponent for exponent in range(wanted.bit_length() - 1, -1, -1))
    sizes = [wanted, *(size for size in powers if size < wanted and batch % size == 0)]
    return tuple(_peaks(spec, footprint, pool, sizes))


def _peaks(
    spec: JobSpec, footprint: Footprint, pool: Pool, sizes: list[int]
) -> Iterator[Candidate]:
    card, processes = METHODS[spec.method["type"]], num_processes(spec, pool)
    on_device = pool.accelerator is not None
    weights = weights_of(footprint, spec.adapter, spec.model.quantization)
    if sharding(spec) == LOADED_IN_PARTS:
        weights = weights.in_parts(footprint, processes)
    settings = card.load_settings().model_validate(spec.method.get(card.member) or {})
    active = settings.active_layers(footprint.num_layers)
    memory = settings.memory_in_pod(settings.memory(card.memory), processes)
    for size in sizes:
        peak = memory.peak_bytes(
            footprint,
            weights,
            max_length=spec.dataset.max_length,
            micro_batch=size,
            on_device=on_device,
            active_layers=active,
        )
        # Each process has a device of its own, but all of them the pod's memory together.
        yield Candidate(size, peak * (1 if on_device else processes))


def room_bytes(pool: Pool) -> int | None:
    """Memory that a step of one of the pool's peers can count on; None where only the node knows."""
    if pool.accelerator is None:
        return to_bytes(pool.resources.memory)
    return to_bytes(pool.accelerator.memory) if pool.accelerator.memory else None


def fitting(spec: JobSpec, pool: Pool) -> Candidate | None:
    """The largest micro-batch whose peak a peer of the pool has room for."""
    room = room_bytes(pool)
    found = candidates(spec, pool)
    return next((one for one in found if room is None or one.peak_bytes <= room), None)
