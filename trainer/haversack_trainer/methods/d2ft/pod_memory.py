"""What a process takes where a peer's groups are shared out to several. Pure; no torch here: jobs are placed with it."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Final

from haversack_trainer.contract.cards import MemoryModel
from haversack_trainer.contract.weights import FLOAT_BYTES

HUB_SHARE: Final = 0.35
"""Of the activations: those that are no group's, which the first process keeps; 0.16 to 0.34 were measured."""


def largest_share(num_groups: int | None, num_processes: int) -> float:
    """Of a layer's groups, dealt evenly, on one process. Where their number is not known yet, there is at least one for each
    process, and one more is the worst that can be."""
    count = num_processes + 1 if num_groups is None else num_groups
    return ceil(count / num_processes) / count


def in_pod(memory: MemoryModel, share: float) -> MemoryModel:
    """Of the first process, which takes most, with ``share`` of each layer's groups. What is trained is whole there beside
    its own part of it, value and gradient, and what is on its way to the others."""
    beside = ceil(2 * FLOAT_BYTES * share) + FLOAT_BYTES
    activations = HUB_SHARE + (1 - HUB_SHARE) * share
    return replace(
        memory,
        bytes_per_trainable=memory.bytes_per_trainable + beside,
        activation_factor=ceil(memory.activation_factor * activations),
        score_copies=ceil(memory.score_copies * share),
    )
