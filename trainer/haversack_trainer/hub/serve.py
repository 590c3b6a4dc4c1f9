"""Puts a hub together and runs it until it is asked to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import web

from .app import Hub
from .blobs import Blobs
from .core import Core
from .door import Door
from .journal import HubError, Journal, NotStored
from .publisher import Publisher
from .tls import Credentials

_KEEPALIVE_SECONDS: Final = 600.0
"""Peers are silent on their writing connection for the whole of a round's local work."""
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What a hub needs to know."""

    run: str
    folder: Path
    """For the log and blobs; what is there is read back."""
    tls_dir: Path
    """With ``ca.crt``, ``tls.crt``, ``tls.key``."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own network; who may talk is decided by certificates
    port: int = 8443
    rounds: int = 0
    """Of the whole run, for its progress."""
    lease_seconds: float = 60.0
    awaits_log: bool = False
    """Peers hold the run's log: an empty folder means that it was lost."""
    needs_approval: bool = False
    """As in ``RunState``."""
    deadline_seconds: float | None = None
    """As in ``Core``."""
    has_all_blobs: bool = False
    """Every blob that a payload names comes to the hub first: one that did not is refused."""


@dataclass(frozen=True, slots=True)
class RunningHub:
    port: int
    core: Core
    failed: asyncio.Event
    """Set when the disk failed under the hub: it must be stopped."""


@asynccontextmanager
async def running(
    settings: HubSettings, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[RunningHub]:
    """A hub that listens while the context is open. Raises ``HubError``."""
    credentials = Credentials(settings.tls_dir)
    journal = Journal(settings.folder / "log", settings.run)
    blobs = Blobs(settings.folder / "blobs", clock)
    core = Core(
        settings.run,
        journal,
        rounds=settings.rounds,
        lease_seconds=settings.lease_seconds,
        clock=clock,
        recovered=journal.records(),
        incomplete=journal.was_cut or (settings.awaits_log and not journal),
        needs_approval=settings.needs_approval,
        deadline_seconds=settings.deadline_seconds,
        has_blob=blobs.has if settings.has_all_blobs else None,
    )
    publisher = Publisher(core, journal.sync)
    app = Hub(core, blobs, publisher, journal.store).application()
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=_KEEPALIVE_SECONDS, shutdown_timeout=0.5
    )
    await runner.setup()
    door = Door(runner)
    keeper = asyncio.create_task(_keep(core, blobs, publisher, credentials))
    try:
        port = await door.open(settings.host, settings.port, credentials.context)
        yield RunningHub(port, core, publisher.failed)
    finally:
        keeper.cancel()
        publisher.announce()
        await door.close()
        journal.close()


def run(settings: HubSettings) -> None:
    """``serve`` on uvloop: TLS and sockets cost it half of the time and memory that asyncio's own loop needs."""
    uvloop.run(serve(settings))


async def serve(settings: HubSettings) -> None:
    """Run until SIGTERM or SIGINT. Raises ``HubError`` if the hub cannot start or its disk fails."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(settings) as hub:
        _logger.info("hub of %s on port %d, %d records", settings.run, hub.port, len(hub.core))
        waits = [asyncio.create_task(event.wait()) for event in (stopped, hub.failed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if hub.failed.is_set():
            raise HubError(f"the disk at {settings.folder} failed while records were written to it")


async def _keep(core: Core, blobs: Blobs, publisher: Publisher, credentials: Credentials) -> None:
    """Leases, old blobs and renewed certificates, for as long as the hub runs."""
    while True:
        await asyncio.sleep(min(1.0, core.lease_seconds / 4))
        try:
            core.tick()
            await publisher.confirm()
        except NotStored as error:
            _logger.warning("%s", error)
        credentials.refresh()
        blobs.sweep(core.needed_blobs(), core.past_blobs())
