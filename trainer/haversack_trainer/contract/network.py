"""The part of a ``FineTuneJob`` that says how peers' bytes travel."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from .base import Frozen


class BulkPath(StrEnum):
    RELAY = "Relay"
    DIRECT = "Direct"


class NetworkSpec(Frozen):
    """How peers' bytes travel."""

    bulk: BulkPath = Field(
        default=BulkPath.RELAY,
        description="Relay: all bytes of a round go through the hub, over mutual TLS. Direct: for peers of one site, "
        "whose pods reach one another; their blobs go from pod to pod, checked but not encrypted, to every peer, "
        "and over the hub where that fails.",
    )

    @property
    def is_direct(self) -> bool:
        """Whether blobs go from pod to pod."""
        return self.bulk is BulkPath.DIRECT
