"""Addresses for pods of this machine.

Linux answers on all of 127.0.0.0/8, so every pod has an address of its own and every hub can listen
on the same port; elsewhere there is only 127.0.0.1. A pod that a Service selects gets the Service's
address, which therefore stays the same when the pod is replaced.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import Manifest


@dataclass
class LoopbackNetwork:
    """Hands out addresses; different processes on a machine use different blocks."""

    block: int = field(default_factory=os.getpid)
    shared: bool = sys.platform != "linux"
    _known: dict[str, str] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """The address of this name, the same every time."""
        if self.shared:
            return "127.0.0.1"
        if name not in self._known:
            low = len(self._known) + 1
            high = self.block % (2**14)
            self._known[name] = f"127.{64 + high // 256}.{high % 256}.{low % 254 + 1}"
        return self._known[name]

    def of_pod(self, pod: Manifest, services: Iterable[Manifest]) -> str:
        """The pod's own address, or that of the first Service that selects it."""
        for service in services:
            if selects(service, pod["metadata"].get("labels", {})):
                return self.address(_name(service))
        return self.address(_name(pod))

    def hosts(self, services: Iterable[Manifest]) -> dict[str, str]:
        """Address by DNS name, for all Services."""
        return {
            f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc": self.address(
                _name(service)
            )
            for service in services
        }


def selects(service: Manifest, labels: Mapping[str, Any]) -> bool:
    """True if the Service's selector is not empty and holds for these labels."""
    wanted: Mapping[str, Any] = service.get("spec", {}).get("selector") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _name(manifest: Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']}/{meta['namespace']}/{meta['name']}"
