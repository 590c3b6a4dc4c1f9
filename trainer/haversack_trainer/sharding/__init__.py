"""A peer that is a pod with several processes: one per accelerator, each with a part of what is trained.

The pod is the whole world of DeepSpeed's ZeRO or of FSDP2: gradients are reduced and weights gathered inside it,
and only what ``Shards.partitions`` hold goes on to the other pods, process by process.
"""

from .base import Gradient, InParts, ShardingError, Shards
from .world import World

__all__ = ["Gradient", "InParts", "ShardingError", "Shards", "World"]
