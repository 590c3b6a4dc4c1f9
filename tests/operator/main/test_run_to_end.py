"""What the event loop prints at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from haversack_operator.main import run_to_end


@contextlib.asynccontextmanager
async def paused_waiter() -> AsyncIterator[None]:
    waiter = asyncio.create_task(asyncio.sleep(60))
    try:
        yield
    finally:
        waiter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiter


async def watch() -> AsyncIterator[int]:
    """Open as kopf's ``infinite_watch`` is: a generator inside a generator."""
    async with paused_waiter():
        yield 1


def test_watches_left_open_end_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    left_open = [watch() for _ in range(40)]

    async def serve() -> None:
        for stream in left_open:
            await anext(stream)

    run_to_end(serve())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_other_faults_of_the_loop_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async def serve() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    run_to_end(serve())
    assert "ZeroDivisionError" in caplog.text
