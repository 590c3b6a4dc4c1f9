"""A record is confirmed once it is on the disk, and never if the disk failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hub_harness import a_join, json_of

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.hub.core import Core
from haversack_trainer.hub.journal import NotStored
from haversack_trainer.hub.publisher import Publisher


class Shelf:
    starts = (0,)

    def append(self, frame: bytes) -> None:
        """What the disk does with it is up to ``sync``."""

    def segment(self, start: int) -> bytes:
        """Nothing is asked for that is not in memory."""
        raise AssertionError(start)


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


class Disk:
    """Counts syncs; ``meanwhile`` is done while the first one is under way."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.num_syncs = 0
        self._meanwhile = meanwhile

    def sync(self) -> None:
        self.num_syncs += 1
        if self.num_syncs == 1:
            self._meanwhile()


def pair_core() -> Core:
    """Peers 0 and 1 in round 0: three records."""
    core = a_core()
    core.append(1, Record(Kind.JOIN, 1, 0, json_of(a_join("i1"))).encode(), "i1")
    core.append(0, Record(Kind.START, 0, 0, json_of(Start())).encode(), "i0")
    return core


def publish(core: Core, peer: int, round: int = 0) -> int:
    frame = Record(Kind.PAYLOAD, peer, round, b"x").encode()
    return core.append(peer, frame, f"i{peer}").next - 1


async def test_the_first_waits_for_the_last_and_one_sync_is_for_both() -> None:
    core, disk = pair_core(), Disk()
    publisher = Publisher(core, disk.sync)
    first = asyncio.create_task(publisher.take_turn(publish(core, 0), 3, 20))
    await asyncio.sleep(0)
    assert (first.done(), disk.num_syncs) == (False, 0)
    await publisher.take_turn(publish(core, 1), 3, 20)
    await first
    assert (publisher.durable, disk.num_syncs) == (5, 1)


async def test_a_round_that_closes_while_the_disk_is_busy_is_synced_once_more() -> None:
    core = pair_core()
    disk = Disk(lambda: publish(core, 1))
    publisher = Publisher(core, disk.sync)
    position = publish(core, 0)
    busy = asyncio.create_task(publisher.confirm())
    await publisher.take_turn(position, 3, 20)
    await busy
    assert (publisher.durable, disk.num_syncs) == (5, 2)


async def test_a_turn_that_is_over_is_not_waited_for_but_its_record_is_on_the_disk() -> None:
    core, disk = pair_core(), Disk()
    publisher = Publisher(core, disk.sync)
    position = publish(core, 0)
    await publisher.take_turn(position, 3, 0.001)
    assert (publisher.durable, disk.num_syncs) == (4, 1)
    publish(core, 1)
    await publisher.confirm()
    await publisher.take_turn(position, 3, 3600)  # the answer was lost, the peer asks again


async def test_payloads_of_an_open_round_are_shown_to_who_asks_for_all() -> None:
    core, disk = pair_core(), Disk()
    publisher = Publisher(core, disk.sync)
    turn = asyncio.create_task(publisher.take_turn(publish(core, 0), 3, 20))
    await publisher.wait(3, 20)
    assert (publisher.durable, turn.done()) == (4, False)
    publisher.announce()
    await turn


async def test_a_disk_that_fails_is_told_to_who_takes_a_turn() -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    core = pair_core()
    publisher = Publisher(core, fail)
    with pytest.raises(NotStored):
        await publisher.take_turn(publish(core, 0), 3, 0.001)
