"""Which of this machine's devices a pod sees: on a node that is the device plug-in's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from . import machine
from .base import Manifest
from .local_launch import container_of

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


class LocalDevices:
    """Hands out the least used ones. A declared inventory may have more devices than there are: then
    peers share them."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self._ids = ids
        self._held: dict[str, tuple[str, ...]] = {}

    def take(self, name: str, pod: Manifest) -> Mapping[str, str]:
        """What the pod's environment has to say. Who asks for no device sees none."""
        if not self._ids:
            return {}
        load = Counter(id_ for ids in self._held.values() for id_ in ids)
        free = sorted(self._ids, key=lambda id_: load[id_])
        self._held[name] = tuple(free[: num_devices(pod)])
        return {VISIBLE: ",".join(self._held[name])}

    def give_back(self, name: str) -> None:
        """The pod is gone."""
        self._held.pop(name, None)


def of_this_machine(environment: Mapping[str, str]) -> LocalDevices:
    """The devices that the driver knows, or those of them that the user has chosen."""
    chosen = environment.get(VISIBLE)
    if chosen is not None:
        return LocalDevices(tuple(id_.strip() for id_ in chosen.split(",") if id_.strip()))
    count = len(machine.device_memory_bytes())
    return LocalDevices(tuple(str(number) for number in range(count)))


def num_devices(pod: Manifest) -> int:
    """Devices that the container asks for, of whatever kind the pool names."""
    limits = container_of(pod).get("resources", {}).get("limits", {})
    return sum(int(count) for name, count in limits.items() if "/" in name)
