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
"""Payloads of an open round are shown at the latest after this."""


class Publisher:
    """``durable``: records before it may be shown and their appends be confirmed."""

    def __init__(self, core: Core, sync: Callable[[], None]) -> None:
        self.durable = len(core)
        self.failed = asyncio.Event()
        """The disk lost what it had taken: the hub must stop and recover by restarting."""
        self._core, self._sync = core, sync
        self._announced = self.durable
        self._news = asyncio.Event()
        self._syncing: asyncio.Task[None] | None = None
        self._hold: asyncio.TimerHandle | None = None

    async def confirm(self) -> None:
        """Wait until everything appended so far is on the disk. Raises ``NotStored`` if it failed."""
        upto = len(self._core)
        while self.durable < upto and not self.failed.is_set():
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.create_task(self._sync_once())
            await asyncio.shield(self._syncing)
        if self.durable < upto:
            raise NotStored("the hub's disk failed under what it had taken: the hub restarts")

    async def wait(self, start: int, seconds: float) -> None:
        """Wait until there is something worth answering at ``start``, at most ``seconds``."""
        if start < self._announced:
            return
        news = self._news
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return

    def announce(self) -> None:
        """Wake everybody who waits."""
        self._announced = self.durable
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        news, self._news = self._news, asyncio.Event()
        news.set()

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
        elif self._hold is None:
            self._hold = asyncio.get_running_loop().call_later(MAX_HOLD_SECONDS, self.announce)
