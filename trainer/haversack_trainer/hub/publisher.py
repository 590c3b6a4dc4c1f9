"""When a record may be seen: once it is on the disk, and all who wait are woken together.

Many requests share one ``fdatasync``. A payload that leaves its round open wakes nobody: 256 peers would
each be answered 256 times a round to learn nothing they can act on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .core import Core
from .journal import NotStored

MAX_HOLD_SECONDS: Final = 0.5
"""So long payloads of an open round are neither shown nor, if nobody asks for it, put on the disk."""


class Bell:
    """Wakes all who wait for the log to reach some position."""

    def __init__(self, upto: int) -> None:
        self.upto = upto
        self._event = asyncio.Event()

    def ring(self, upto: int) -> None:
        """Records before ``upto`` are there. Wakes everybody, whatever they wait for."""
        self.upto = upto
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, start: int, seconds: float) -> None:
        """Until it has rung, unless there is something at ``start`` already; at most ``seconds``."""
        if start < self.upto:
            return
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


class Publisher:
    """``durable``: records before it may be shown and their appends be confirmed."""

    def __init__(self, core: Core, sync: Callable[[], None]) -> None:
        self.durable = len(core)
        self.failed = asyncio.Event()
        """The disk lost what it had taken: the hub must stop and recover by restarting."""
        self._core, self._sync = core, sync
        self._news, self._turns = Bell(self.durable), Bell(min(core.wake_mark, self.durable))
        """For who wants to see all, and for who wants what lets peers go on."""
        self._syncing: asyncio.Task[None] | None = None
        self._hold: asyncio.TimerHandle | None = None

    async def confirm(self) -> None:
        """Wait until everything appended so far is on the disk. Raises ``NotStored`` if it failed."""
        upto = len(self._core)
        while self.durable < upto and not self.failed.is_set():
            await asyncio.shield(self._begin())
        if self.durable < upto:
            raise NotStored("the hub's disk failed under what it had taken: the hub restarts")

    async def wait(self, start: int, seconds: float) -> None:
        """Wait until there is something worth answering at ``start``, at most ``seconds``."""
        await self._news.wait(start, seconds)

    async def take_turn(self, position: int, start: int, seconds: float) -> None:
        """Wait until the record at ``position``, which was just appended, is on the disk, and something after
        ``start`` lets its peer go on; for the second at most ``seconds``. Raises ``NotStored``."""
        if self._core.wake_mark > self.durable:
            self._begin()
        else:
            self._hold_back()
        await self._turns.wait(start, seconds)
        if self.durable <= position:
            await self.confirm()

    def announce(self) -> None:
        """Wake everybody who waits."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        self._turns.ring(min(self._core.wake_mark, self.durable))
        self._news.ring(self.durable)

    def _hold_back(self) -> None:
        if self._hold is None:
            self._hold = asyncio.get_running_loop().call_later(MAX_HOLD_SECONDS, self._let_go)

    def _let_go(self) -> None:
        self._hold = None
        if self.durable > self._news.upto:
            self._news.ring(self.durable)
        if self.durable < len(self._core) and not self.failed.is_set():
            self._begin()

    def _begin(self) -> asyncio.Task[None]:
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.create_task(self._sync_once())
        return self._syncing

    async def _sync_once(self) -> None:
        upto, before = len(self._core), self.durable
        try:
            await asyncio.to_thread(self._sync)
        except OSError:
            self.failed.set()
            return
        self.durable = upto
        if before < self._core.wake_mark <= upto:
            self.announce()
        elif self._core.wake_mark > upto:
            # It came meanwhile, and this sync may have been too early for it.
            self._syncing = asyncio.create_task(self._sync_once())
        else:
            self._hold_back()
