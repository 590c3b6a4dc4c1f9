"""A record is confirmed once it is on the disk, and never if the disk failed."""

from __future__ import annotations

import pytest
from hub_harness import a_join, json_of

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.hub.core import Core
from haversack_trainer.hub.journal import NotStored
from haversack_trainer.hub.publisher import Publisher


class Shelf:
    def append(self, frame: bytes) -> None:
        """What the disk does with it is up to ``sync``."""


def a_core() -> Core:
    core = Core("run", Shelf(), rounds=1, lease_seconds=30, clock=lambda: 0.0)
    core.append(0, Record(Kind.JOIN, 0, 0, json_of(a_join("i0"))).encode(), "i0")
    return core


async def test_what_is_on_the_disk_is_confirmed() -> None:
    core = a_core()
    publisher = Publisher(core, lambda: None)
    core.append(0, Record(Kind.LEAVE, 0, 0, b"").encode(), "i0")
    await publisher.confirm()
    assert (publisher.durable, publisher.failed.is_set()) == (2, False)


async def test_what_the_disk_lost_is_not_confirmed() -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    core = a_core()
    publisher = Publisher(core, fail)
    core.append(0, Record(Kind.LEAVE, 0, 0, b"").encode(), "i0")
    for _ in range(2):
        with pytest.raises(NotStored, match="failed under what it had taken"):
            await publisher.confirm()
    assert (publisher.durable, publisher.failed.is_set()) == (1, True)
