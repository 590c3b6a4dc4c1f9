"""What has room on this machine, by the same memory model that placed the peer here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from haversack_trainer.config import PeerConfig
from haversack_trainer.contract.weights import weights_of

from .machine import CGROUP, memory_bytes


def room_for(
    config: PeerConfig, device: torch.device, cgroup: Path = CGROUP
) -> Callable[[int], bool]:
    """Whether a step through so many layers fits in the device's memory; it always does where the job does
    not say the model's size."""
    on_device = device.type == "cuda"
    if on_device:
        limit = torch.cuda.get_device_properties(device).total_memory
    else:
        limit = memory_bytes(cgroup)
    return partial(_fits, config, limit, on_device)


def _fits(config: PeerConfig, limit: int, on_device: bool, active_layers: int) -> bool:
    job, footprint = config.job, config.job.model.footprint
    if footprint is None:
        return True
    peak = config.card.memory.peak_bytes(
        footprint,
        weights_of(footprint, job.adapter),
        max_length=job.dataset.max_length,
        micro_batch=config.micro_batch_size,
        on_device=on_device,
        active_layers=active_layers,
    )
    return peak <= limit
